"""Shops, people, phones and tills that never existed; they speak to the system like everyone else."""

"""What goes onto machines: broker, hub and edge settings, and their systemd units. Data only; nothing imports it."""

"""Whatever has a cable: radio, broker, disk, clock."""

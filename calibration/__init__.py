"""What is known of a radio. Empty until an issue calibrates one."""

"""What is loaded into radios and onto boards: profiles and FIR filters of `firmware_configs/`, read and checked."""

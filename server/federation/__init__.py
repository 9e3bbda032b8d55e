"""Rounds of private distillation: edges release noisy statistics, the server learns one codec from them for all."""

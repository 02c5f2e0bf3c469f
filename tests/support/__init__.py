"""What tests share: an oracle of the step, fake boards, and the simulated board."""

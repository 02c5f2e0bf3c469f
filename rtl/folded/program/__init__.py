"""The program of a step: its rows, the engine that issues their tokens, and the tokens' clocks."""

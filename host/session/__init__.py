"""One session interface, and its implementations on the golden model and on a board."""

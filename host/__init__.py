"""The host: task files, data, the link, and one session for every backend."""

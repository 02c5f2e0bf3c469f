"""The boards that come with the package, a short file per board or family of boards.

Each file has a list BOARDS of boards.board.Board; boards/registry.py names the files.
"""

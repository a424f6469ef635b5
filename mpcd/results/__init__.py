"""Result types: the shape of an answer, finishing it from opened values, and showing it (layer 1).

Imports nothing but layer 0 and the standard library: the command-line client starts fast because of it.
"""

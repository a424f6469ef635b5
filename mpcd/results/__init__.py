"""Result types: the shape of an answer, finishing it from opened values, and showing it (layer 1).

Imports nothing but layer 0 and the standard library: the command-line client starts fast because of it.
"""

from mpcd.results.finish import finish
from mpcd.results.render import csv_text, json_text, json_value, notes, text_table
from mpcd.results.shape import Shape
from mpcd.results.table import NULL, Cell, NullType, ResultInfo, Suppressed, Table, TableColumn

__all__ = [
    "NULL",
    "Cell",
    "NullType",
    "ResultInfo",
    "Shape",
    "Suppressed",
    "Table",
    "TableColumn",
    "csv_text",
    "finish",
    "json_text",
    "json_value",
    "notes",
    "text_table",
]

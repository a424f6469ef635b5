"""The signed roster: parties, roles, pooled tables with their dictionaries, bounds and units (layer 2)."""

from mpcd.roster.model import Column, ColumnType, Party, PartyRole, Roster, RosterError, Signature, Table
from mpcd.roster.parse import dump, parse
from mpcd.roster.versions import check_successor, diff, missing_signatures, sign

__all__ = [
    "Column",
    "ColumnType",
    "Party",
    "PartyRole",
    "Roster",
    "RosterError",
    "Signature",
    "Table",
    "check_successor",
    "diff",
    "dump",
    "missing_signatures",
    "parse",
    "sign",
]

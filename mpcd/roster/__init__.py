"""The signed roster: parties, roles, pooled tables with their dictionaries, bounds and units (layer 2)."""

from mpcd.roster.model import Column, ColumnType, Party, PartyRole, Roster, RosterError, Signature, Table

__all__ = ["Column", "ColumnType", "Party", "PartyRole", "Roster", "RosterError", "Signature", "Table"]

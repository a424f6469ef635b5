"""Disclosure rules evaluated on shares, one rule per file; `gate` joins them into one status and one keep bit per cell.

Nothing here opens anything.  Numbers come from `governance.DisclosureRules`; what a rule means stands in its own file.
"""

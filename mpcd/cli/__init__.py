"""`mpcctl`: the command line of analysts and operators (layer 15).

main       the command tree, errors and exit codes
shared     options that several commands take, connecting, writing
ask        describe, explain, sql, status
admin      peers, table, reload, drain
ledger     verify, show
sandbox    a consortium on one machine
caveats    what stands below a table
progress   events as a bar on a terminal
"""

"""A whole consortium on one machine, for trying things out (layer 14).

`mpcctl sandbox up` makes keys, roster, policies and snapshots as real hospitals would, and starts real daemons that
speak to each other over loopback TCP.  What it leaves behind is one directory and one running daemon per hospital;
`sandbox down` takes both away.  It is no place for real patients' data that the machine's user may not see: all
hospitals' files lie side by side.

    layout      where things are, and the record of what was started
    prepare     split, propose, keys, roster, policies, import
    processes   start, recognise and stop daemons, across crashes and reboots
    consortium  up, status, down
"""

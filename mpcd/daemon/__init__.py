"""The daemon (layer 13): configuration, keys, logs, supervision, and the wiring of all layers below."""

"""What a context asks of its operating system, besides what event loops do for it.

Whoever wants to know what a context needs of a machine reads `system`: sockets, names, chance; and
`clock`.  Nothing else in the package asks the kernel, or the chance, for anything.  So a simulated
host is a `System` of its own, and a loop on which time is virtual.  No message comes through here:
what is asked often, the clock, is a function in a module, and the rest is asked once a connection.
"""

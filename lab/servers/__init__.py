"""One protocol, six servers: how to serve many clients at once.

Read them in this order; each is one page, and the next one repairs what the last one cannot do:

    sequential_server    one client at a time
    process_server       a process for each client
    thread_server        a thread for each client
    select_server        one thread for all clients, woken by whoever is ready
    select_pool_server   the same, with a pool of threads for the work
    trio_server          the same again, written as straight-line code

`library` is the protocol and what is served; the rest of the folder measures.
"""

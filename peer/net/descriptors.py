"""How many files this process may have open: asked for, and raised as far as the system lets it."""

import resource

from peer.limits import DESCRIPTORS_WANTED


def claim_descriptors() -> int | None:
    """Raise our own limit of open files to what we want, if it is lower; return what it is now.

    Processes begin with little for the sake of old programs (`select` ends at 1024); the hard limit is what
    the administrator means. None where there is no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS refuses more than its own maximum
            return soft
        return wanted
    return soft

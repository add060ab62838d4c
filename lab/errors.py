"""What goes wrong in an experiment that is nobody's usage error."""

from peer.errors import ExitCode, ManyhandsError


class LabError(ManyhandsError):
    """The experiment could not be carried out on this machine; the message says what happened."""

    exit_code = ExitCode.INTERNAL

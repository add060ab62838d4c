"""A swarm as an animation: event traces of its peers laid over each other, in one page."""

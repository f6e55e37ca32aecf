"""One program for the whole network, with a copy of the line of layers for every range of beats."""

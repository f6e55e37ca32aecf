"""Documents as they are shown in Python, see `scope_opt.model.shown`."""

from __future__ import annotations

from scope_opt.notebook.figures import plot as plot
from scope_opt.notebook.frames import frame as frame
from scope_opt.notebook.summary import html as html

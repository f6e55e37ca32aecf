"""Mixed-integer programs layer by layer, with piecewise linear tables, solved by HiGHS."""

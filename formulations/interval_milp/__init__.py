"""Mixed-integer programs over whole clusters, solved by HiGHS."""

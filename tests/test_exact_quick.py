import json
import pytest
from hypothesis import given, settings, strategies as st, HealthCheck
import oracle, strategies
from scope_opt.instance import Instance
from scope_opt.solver import SolveOptions, solve

def load(d): return Instance.from_json(json.dumps(d), "test")

@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(d=st.one_of(strategies.table_instances(max_layers=5,max_chiplets=5), strategies.physical_instances(max_layers=5,max_chiplets=5)), mode=st.sampled_from(["single","free"]))
def test_x(d, mode):
    best = oracle.best(d, segments=mode)
    r = solve(load(d), "exact", SolveOptions(segments="single" if mode=="single" else "dp"))
    if best is None:
        assert r.status == "infeasible"
    else:
        assert r.objective_ps == best[1]
        assert r.status == "optimal"

@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(d=st.one_of(strategies.table_instances(max_layers=5,max_chiplets=5,constraints=True), strategies.physical_instances(max_layers=5,max_chiplets=5,constraints=True)), mode=st.sampled_from(["single","free"]))
def test_c(d, mode):
    d["constraints"].pop("energy_budget_j", None)
    if mode=="single": d["constraints"].pop("fixed_segments", None)
    best = oracle.best(d, segments=mode)
    r = solve(load(d), "exact", SolveOptions(segments="single" if mode=="single" else "dp"))
    if best is None:
        assert r.status == "infeasible"
    else:
        assert r.objective_ps == best[1]
        assert r.status == "optimal"

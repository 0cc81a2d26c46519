"""Drives an agent through py-consul, a module at a time. The first thing that is not as with Consul ends it."""

import base64
import sys
import threading
import time

import consul
import consul.exceptions

HOST = sys.argv[1]
c = consul.Consul(host=HOST)


def until(what, found, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds} s")


def raises(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


def later(call):
    """Calls while the caller waits; a blocking query must see it."""
    timer = threading.Timer(0.3, call)
    timer.start()
    return timer


def status():
    assert c.status.leader() == f"{HOST}:8300"
    assert c.status.peers() == [f"{HOST}:8300"]


def agent():
    me = c.agent.self()
    assert me["Config"]["NodeName"] == "one" and me["Config"]["Datacenter"] == "dc1"
    assert [member["Name"] for member in c.agent.members()] == ["one"]
    assert c.agent.service.register("web", service_id="web-1", port=8080, tags=["v1"], meta={"a": "b"},
                                    check=consul.Check.ttl("30s"))
    assert c.agent.services()["web-1"]["Port"] == 8080
    assert c.agent.services(filter_expr='Service == "db"') == {}
    assert c.agent.service_definition("web-1")["ContentHash"]
    assert c.agent.checks()["service:web-1"]["Status"] == "critical"
    assert c.agent.check.ttl_warn("service:web-1", notes="so so")
    assert c.agent.checks()["service:web-1"]["Output"] == "so so"
    assert c.agent.check.ttl_fail("service:web-1")
    assert c.agent.check.ttl_pass("service:web-1", notes="well")
    assert c.agent.checks()["service:web-1"]["Status"] == "passing"
    assert c.agent.check.register("free", check=consul.Check.ttl("1h"))
    assert c.agent.check.register("said", check=consul.Check.script(["true"], "1s"))
    until("passing script", lambda: c.agent.checks()["said"]["Status"] == "passing")
    assert c.agent.check.deregister("free") and c.agent.check.deregister("said")
    assert c.agent.service.maintenance("web-1", True, "a pause")
    assert c.agent.checks()["_service_maintenance:web-1"]["Notes"] == "a pause"
    assert c.agent.service.maintenance("web-1", False)
    assert c.agent.maintenance(True, "a longer pause")
    assert c.agent.checks()["_node_maintenance"]["Status"] == "critical"
    assert c.agent.maintenance(False)
    assert any(gauge["Name"].startswith("consul.") for gauge in c.agent.metrics()["Gauges"])
    assert "consul_" in c.agent.metrics(format_prometheus=True)
    assert c.agent.join(HOST)


def catalog():
    assert c.catalog.datacenters() == ["dc1"]
    assert c.catalog.register("far", "10.0.0.7", service={"ID": "db-1", "Service": "db", "Tags": ["main"], "Port": 5432},
                              check={"Name": "alive", "ServiceID": "db-1", "Status": "passing"})
    assert "db" in c.catalog.services()[1]
    assert [row["ServicePort"] for row in c.catalog.service("db", tag="main")[1]] == [5432]
    assert [node["Node"] for node in c.catalog.nodes(filter_expr='Node == "far"')[1]] == ["far"]
    assert c.catalog.node("far")[1]["Services"]["db-1"]["Port"] == 5432
    index, _ = c.catalog.service("db")
    change = later(lambda: c.catalog.register("far", "10.0.0.7", service={"ID": "db-2", "Service": "db", "Port": 5433}))
    after, rows = c.catalog.service("db", index=index, wait="5s")
    assert int(after) > int(index) and len(rows) == 2
    change.join()
    assert c.catalog.deregister("far", service_id="db-2")
    assert len(c.catalog.service("db")[1]) == 1


def health():
    until("passing web", lambda: c.health.service("web", passing=True)[1])
    assert c.health.service("db", tag="main")[1][0]["Service"]["ID"] == "db-1"
    assert c.health.service("db", filter_expr='Service.Port != 5432')[1] == []
    assert [check["CheckID"] for check in c.health.checks("db")[1]] == ["alive"]
    assert {check["Status"] for check in c.health.node("far")[1]} == {"passing"}
    assert any(check["CheckID"] == "serfHealth" for check in c.health.state("passing")[1])
    assert c.health.state("critical")[1] == []
    assert c.catalog.deregister("far")


def kv():
    assert c.kv.put("a/1", "one") and c.kv.put("a/2", b"\x00\xff", flags=2**64 - 1)
    index, row = c.kv.get("a/1")
    assert row["Value"] == b"one"
    assert c.kv.get("a/2")[1]["Value"] == b"\x00\xff" and c.kv.get("a/2")[1]["Flags"] == 2**64 - 1
    assert c.kv.get("a/", keys=True)[1] == ["a/1", "a/2"]
    assert c.kv.get("", keys=True, separator="/")[1] == ["a/"]
    assert len(c.kv.get("a/", recurse=True)[1]) == 2
    assert c.kv.put("a/1", "two", cas=row["ModifyIndex"]) and not c.kv.put("a/1", "three", cas=row["ModifyIndex"])
    index, _ = c.kv.get("a/none")
    change = later(lambda: c.kv.put("a/none", None))
    assert c.kv.get("a/none", index=index, wait="5s")[1]["Value"] is None
    change.join()
    assert c.kv.delete("a/2") and c.kv.get("a/2")[1] is None
    assert c.kv.delete("a/", recurse=True) and c.kv.get("a/", recurse=True)[1] is None


def session():
    first = c.session.create(name="first", ttl=30, lock_delay=0)
    second = c.session.create("second", behavior="delete", checks=["serfHealth"], lock_delay=0)
    assert c.session.info(first)[1]["Name"] == "first"
    assert {row["ID"] for row in c.session.list()[1]} == {first, second}
    assert {row["ID"] for row in c.session.node("one")[1]} == {first, second}
    assert c.session.renew(first)["TTL"] == "30s"
    assert c.kv.put("lock", "mine", acquire=first) and not c.kv.put("lock", "yours", acquire=second)
    index, row = c.kv.get("lock")
    assert row["Session"] == first and row["LockIndex"] == 1
    change = later(lambda: c.session.destroy(first))
    assert "Session" not in c.kv.get("lock", index=index, wait="5s")[1]
    change.join()
    assert c.kv.put("lock", "yours", acquire=second) and c.kv.get("lock")[1]["LockIndex"] == 2
    assert not c.kv.put("lock", "", release=first) and c.kv.put("lock", "", release=second)
    assert c.kv.put("passing", "", acquire=second)
    assert c.session.destroy(second)
    assert c.kv.get("passing")[1] is None
    raises(consul.exceptions.NotFound, lambda: c.session.renew(first))
    assert c.session.info(first)[1] is None


def txn():
    def op(verb, key, **more):
        return {"KV": {"Verb": verb, "Key": key, **more}}

    value = base64.b64encode(b"v").decode()
    done = c.txn.put([op("set", "t/1", Value=value), op("get", "t/1")])
    assert done["Errors"] is None and done["Results"][1]["KV"]["Value"] == value
    told = raises(consul.exceptions.ClientError, lambda: c.txn.put([op("set", "t/2", Value=value), op("check-index", "t/1", Index=1)]))
    assert "409" in told or "OpIndex" in told, told
    assert c.kv.get("t/2")[1] is None
    assert c.txn.put([op("get-tree", "t/"), op("delete-tree", "t/")])["Results"]


def event():
    index, _ = c.event.list()
    change = later(lambda: c.event.fire("deploy", body="seven"))
    _, events = c.event.list(index=index, wait="5s", name="deploy")
    change.join()
    events = events or until("event", lambda: c.event.list(name="deploy")[1])
    assert events[-1]["Name"] == "deploy" and events[-1]["Payload"] == b"seven", events


def query():
    made = c.query.create("web", name="fast", onlypassing=True, tags=["v1"], ttl="10s")["ID"]
    assert [row["Name"] for row in c.query.list()] == ["fast"]
    assert c.query.get(made)[0]["Service"]["OnlyPassing"] is True
    assert c.query.execute("fast")["Nodes"][0]["Service"]["ID"] == "web-1"
    assert c.query.explain("fast")["Query"]["Service"]["Service"] == "web"
    assert c.query.update(made, service="web", name="faster")
    assert c.query.delete(made) and c.query.list() == []


def coordinate():
    assert [area["Datacenter"] for area in c.coordinate.datacenters()] == ["dc1"]
    assert isinstance(c.coordinate.nodes()[1], list)


def operator():
    servers = c.operator.raft_config()["Servers"]
    assert [server["Node"] for server in servers] == ["one"] and servers[0]["Leader"]
    assert c.operator.autopilot_configuration()["CleanupDeadServers"] is True
    assert c.operator.update_autopilot_configuration(max_trailing_logs=300)
    assert c.operator.autopilot_configuration()["MaxTrailingLogs"] == 300
    assert c.operator.autopilot_health()["Healthy"] is True
    assert c.operator.usage()["Usage"]["dc1"]["Nodes"] >= 1


def snapshot():
    c.kv.put("kept", "yes")
    saved = c.snapshot.save()
    c.kv.put("kept", "no")
    assert c.snapshot.restore(saved)
    assert c.kv.get("kept")[1]["Value"] == b"yes"


def connect():
    roots = c.connect.ca.roots()
    assert roots["Roots"][0]["RootCert"].startswith("-----BEGIN CERTIFICATE-----")
    assert c.agent.connect.ca.leaf("web")["CertPEM"].startswith("-----BEGIN CERTIFICATE-----")


MODULES = [status, agent, catalog, health, kv, session, txn, event, query, coordinate, operator, snapshot, connect]
for name in sys.argv[2:] or [module.__name__ for module in MODULES]:
    globals()[name]()
    print(f"   {name}", flush=True)

"""The embedded servers themselves, where a real one decides what is right."""

import uuid

from chargeline.embedded import servers


def test_a_cluster_id_that_begins_with_a_minus_is_no_option(tmp_path, monkeypatch):
    with_minus = uuid.UUID(bytes=b"\xfb" + b"\xff" * 15)
    monkeypatch.setattr(uuid, "uuid4", lambda: with_minus)
    servers.kafka(tmp_path, servers.free_ports())
    assert "cluster.id=-____" in (tmp_path / "kafka/data/meta.properties").read_text()

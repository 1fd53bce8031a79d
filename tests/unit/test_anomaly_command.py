"""`chargeline anomaly score`: files good, odd and bad."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from chargeline.cli.main import build

RUNNER = CliRunner()
START = datetime(2026, 1, 5, tzinfo=UTC)


def write(path, rows, header="timestamp,value"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def good_rows(count=400, form="%Y-%m-%d %H:%M:%S"):
    values = [10 + row % 12 + (90 if row in (300, 301, 302) else 0) for row in range(count)]
    moments = [START + timedelta(minutes=5 * row) for row in range(count)]
    epoch = [form.replace("%s", str(int(moment.timestamp()))) for moment in moments]
    return [f"{moment:{text}},{value}" for moment, text, value in zip(moments, epoch, values, strict=True)]


def score(source, *more):
    output = source.with_name("scored.csv")
    done = RUNNER.invoke(build([]), ["anomaly", "score", "--input", str(source), "--output", str(output), *more])
    rows = list(csv.DictReader(output.open())) if output.exists() else []
    return done, rows


def test_every_row_gets_a_score_and_an_alert_from_a_half_on(tmp_path):
    done, rows = score(write(tmp_path / "in.csv", good_rows()))
    assert done.exit_code == 0, done.output
    assert list(rows[0]) == ["timestamp", "value", "score", "alert"]
    assert [(row["timestamp"], row["value"]) for row in rows] == [tuple(row.split(",")) for row in good_rows()]
    assert all((float(row["score"]) >= 0.5) == (row["alert"] == "1") for row in rows)
    assert "1" in {row["alert"] for row in rows[300:306]}


def test_first_rows_score_the_same_whether_or_not_more_follow(tmp_path):
    (tmp_path / "a").mkdir()
    _, whole = score(write(tmp_path / "in.csv", good_rows()))
    _, part = score(write(tmp_path / "a" / "in.csv", good_rows()[:310]))
    assert part == whole[:310]


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (" Timestamp , VALUE ", "%Y-%m-%dT%H:%M:%SZ"),
        ("\ufefftimestamp,value", "%Y-%m-%d %H:%M:%S.%f"),
        ("time,billed_cost", "%s"),
        ('"timestamp","value"', "%m/%d/%Y %H:%M"),
        ("window_start,amount", "%s000"),
    ],
)
def test_other_headers_and_times_give_the_same_scores(tmp_path, header, form):
    _, expected = score(write(tmp_path / "plain.csv", good_rows()))
    done, rows = score(write(tmp_path / "in.csv", good_rows(form=form), header))
    assert done.exit_code == 0, done.output
    assert [row["score"] for row in rows] == [row["score"] for row in expected]


def test_a_file_without_a_header_and_columns_in_another_order_are_read(tmp_path):
    _, expected = score(write(tmp_path / "plain.csv", good_rows()))
    rows = good_rows()
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n")
    assert score(tmp_path / "in.csv")[1] == expected
    turned = [";".join(["x", *row.split(",")[::-1]]) for row in rows]
    assert score(write(tmp_path / "turned.csv", turned, "host;value;timestamp"))[1] == expected


def test_missing_values_repeated_and_unsorted_times_keep_their_rows(tmp_path):
    rows = good_rows()
    rows[150:150] = [
        "2026-01-05 00:00:00,",
        "2026-01-04 00:00:00,NaN",
        "never,11",
        "2026-01-05 00:00:00,abc",
        "x",
        ",12",
    ]
    done, scored = score(write(tmp_path / "in.csv", rows))
    assert done.exit_code == 0, done.output
    assert len(scored) == len(rows)
    assert [row["score"] for row in scored[150:152]] == ["0.0", "0.0"]
    assert "4 without a value, 3 without a time" in done.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("a,b\n1,x\n", "no columns timestamp and value"),
        ("timestamp,value\n", "none of 0 rows"),
        ("timestamp,value\nnever,1\n2026-01-01,x\n", "none of 2 rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_exit_code_2_and_leaves_no_output(tmp_path, text, reason):
    source = tmp_path / "in.csv"
    source.write_text(text)
    done, _ = score(source)
    assert done.exit_code == 2
    assert reason in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


def test_bytes_that_are_no_text_are_exit_code_2(tmp_path):
    source = tmp_path / "in.csv"
    source.write_bytes(b"\xff\xfe\x00\x01")
    assert score(source)[0].exit_code == 2


def test_other_parameters_can_be_given_and_bad_ones_are_exit_code_2(tmp_path):
    source = write(tmp_path / "in.csv", good_rows())
    given = tmp_path / "mine.toml"
    given.write_text(
        "threshold = 8\nspend_threshold = 0\ncool_down_rows = 1\nlearning_rows = 0\nhistory_rows = 500\n"
        "pattern_history_rows = 100\nprofile_weight = 0.02\nlate_rows = 0\n"
    )
    done, rows = score(source, "--params", str(given))
    assert done.exit_code == 0, done.output
    assert {row["alert"] for row in rows} == {"0"}
    given.write_text("threshold = true\n")
    for bad in (given, tmp_path):  # a folder is none
        done, _ = score(source, "--params", str(bad))
        assert done.exit_code == 2
        assert str(bad) in done.output

"""Every type of a Spark column, as payload: the table in `spark_vector_sink/rows/payload.py`, row by row, through Spark
and a store.

The session's zone is America/New_York, so a timestamp that loses its zone on the way shows.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession, types
from pyspark.sql import functions as f

from spark_vector_sink.spark import arrow, check, write
from tests.fake_server import FakeServer
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, SPARK, Embedded, Place, Server, save

pytestmark = pytest.mark.spark


def test_strings_of_a_fixed_length_are_strings() -> None:
    """Where Spark keeps those types, as with `spark.sql.preserveCharVarcharTypeInfo`."""
    kept = types.StructType([types.StructField("c", types.CharType(3)), types.StructField("v", types.VarcharType(3))])
    assert arrow.schema(kept).types == [pa.string(), pa.string()]


@dataclass(frozen=True)
class Case:
    """A column's expression in SQL, and what must be stored of it."""

    sql: str
    stored: Any
    since: tuple[int, int] = (3, 5)
    """the first Spark that has the type"""


EXACT = b"\x00\xffbytes"
CASES = {
    # the plain ones
    "boolean": Case("true", True),
    "string": Case("'ein Ärger 🐈\\n\"x\"'", 'ein Ärger 🐈\n"x"'),
    "empty_string": Case("''", ""),
    "collated": Case("'Text' COLLATE UNICODE_CI", "Text", since=(4, 0)),
    "varchar": Case("CAST('abc' AS VARCHAR(10))", "abc"),
    "void": Case("NULL", None),
    # numbers
    "byte": Case("CAST(-128 AS TINYINT)", -128),
    "short": Case("CAST(-32768 AS SMALLINT)", -32768),
    "int": Case("-2147483648", -2147483648),
    "long": Case("9223372036854775807", 2**63 - 1),
    "long_least": Case("-9223372036854775807 - 1", -(2**63)),
    "float": Case("CAST(0.1 AS FLOAT)", 0.10000000149011612),
    "double": Case("0.1D", 0.1),
    "double_large": Case("1.7976931348623157E308D", 1.7976931348623157e308),
    # decimals: a whole number that fits is one, anything else is exact text
    "decimal_integer": Case("CAST(-999999999999999999 AS DECIMAL(18, 0))", -999999999999999999),
    "decimal_wide": Case("CAST(12345678901234567890 AS DECIMAL(38, 0))", "12345678901234567890"),
    "decimal_money": Case("CAST(12.5 AS DECIMAL(10, 2))", "12.50"),
    "decimal_tiny": Case("CAST(0.0000000001 AS DECIMAL(20, 10))", "0.0000000001"),
    "decimal_zero": Case("CAST(0 AS DECIMAL(20, 10))", "0.0000000000"),
    # time
    "date": Case("DATE'2024-02-29'", "2024-02-29"),
    "date_early": Case("DATE'0001-01-01'", "0001-01-01"),
    "timestamp": Case("TIMESTAMP'2024-02-29 07:30:00'", "2024-02-29T12:30:00.000000Z"),
    "timestamp_summer": Case("TIMESTAMP'2024-07-01 20:15:30.123456'", "2024-07-02T00:15:30.123456Z"),
    "timestamp_offset": Case("TIMESTAMP'2024-02-29 07:30:00+01:00'", "2024-02-29T06:30:00.000000Z"),
    "timestamp_before_1970": Case("TIMESTAMP'1969-12-31 18:59:59.5'", "1969-12-31T23:59:59.500000Z"),
    "timestamp_ntz": Case("TIMESTAMP_NTZ'2024-02-29 07:30:00.000001'", "2024-02-29T07:30:00.000001"),
    "time": Case("TIME'12:30:00.5'", "12:30:00.500000", since=(4, 3)),
    "interval_day_time": Case("INTERVAL '1 02:03:04.000005' DAY TO SECOND", ((26 * 60 + 3) * 60 + 4) * 1_000_000 + 5),
    "interval_negative": Case("INTERVAL '-1' HOUR", -3_600_000_000),
    "binary": Case(f"X'{EXACT.hex()}'", base64.b64encode(EXACT).decode()),
    # lists, objects, and one in another
    "array": Case("array(1, NULL, 3)", [1, None, 3]),
    "array_empty": Case("CAST(array() AS ARRAY<STRING>)", []),
    "array_of_dates": Case("array(DATE'2024-02-29', NULL)", ["2024-02-29", None]),
    "array_of_timestamps": Case("array(TIMESTAMP'2024-02-29 07:30:00')", ["2024-02-29T12:30:00.000000Z"]),
    "array_of_arrays": Case("array(array('a'), array(), NULL)", [["a"], [], None]),
    "struct": Case("named_struct('a', 1, 'b.c', 'x', 'none', CAST(NULL AS INT))", {"a": 1, "b.c": "x", "none": None}),
    "struct_null": Case("IF(rand() < 0, named_struct('a', 1), NULL)", None),
    "map": Case("map('a', 1.5D, 'b c', NULL)", {"a": 1.5, "b c": None}),
    "map_of_integers": Case("map(1, 'one', -2, 'two')", {"1": "one", "-2": "two"}),
    "map_empty": Case("CAST(map() AS MAP<STRING, INT>)", {}),
    "nested": Case(
        "array(named_struct('at', TIMESTAMP'2024-02-29 07:30:00', 'tags', map('k', array(CAST(1.50 AS DECIMAL(5, "
        "2)), NULL))))",
        [{"at": "2024-02-29T12:30:00.000000Z", "tags": {"k": ["1.50", None]}}],
    ),
    # variants
    "variant_object": Case(
        """parse_json('{"a": [1, 2.5, null, true, "x"], "b": {"c": {}}, "d": 9223372036854775807}')""",
        {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}, "d": 2**63 - 1},
        since=(4, 0),
    ),
    "variant_text": Case("""parse_json('"a \\\\"text\\\\""')""", 'a "text"', since=(4, 0)),
    "variant_number": Case("parse_json('-7')", -7, since=(4, 0)),
    "variant_json_null": Case("parse_json('null')", None, since=(4, 0)),
    "variant_date": Case("CAST(DATE'2024-02-29' AS VARIANT)", "2024-02-29", since=(4, 0)),
    "array_of_variants": Case("array(parse_json('1'), NULL, parse_json('{}'))", [1, None, {}], since=(4, 0)),
    "objects_of_variants": Case(
        "named_struct('m', map('k', parse_json('[null]')))", {"m": {"k": [None]}}, since=(4, 0)
    ),
    # types of nothing
    "map_of_nothing": Case("map()", {}),
    "array_of_nothing": Case("array()", []),
    "struct_of_nothing": Case("struct()", {}),
    "nothing_in_objects": Case(
        "named_struct('m', map(), 'a', array(map(), map()), 'n', NULL, 's', array(struct()))",
        {"m": {}, "a": [{}, {}], "n": None, "s": [{}]},
    ),
}
REFUSED = {
    "interval_year_month": "INTERVAL '1-2' YEAR TO MONTH",
    "array_of_intervals": "array(INTERVAL '1-2' YEAR TO MONTH)",
    "interval_calendar": "make_interval(1, 2)",
    "map_of_dates": "map(DATE'2024-02-29', 1)",
    "map_of_structs": "map(named_struct('a', 1), 1)",
    "struct_with_a_name_twice": "named_struct('a', 1, 'a', 2)",
}
PRESENT = {name: case for name, case in CASES.items() if case.since <= SPARK}


def rows(spark: SparkSession) -> DataFrame:
    """A row with every type's value between two rows of nulls in all columns."""
    columns = ", ".join(f"{case.sql} AS {name}" for name, case in PRESENT.items())
    nulls = ", ".join(f"IF(id = 2, {name}, NULL) AS {name}" for name in PRESENT)
    return spark.sql(
        f"SELECT id, 'text' AS text, {nulls} FROM (SELECT explode(array(1, 2, 3)) AS id, {columns})"
    ).coalesce(1)


@pytest.fixture(scope="module", params=["embedded", "server"])
def stored(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, dict[str, Any]]]:
    """The payload of each row after `write()` to a directory, and after a save to a server (`write()` again where Spark
    has no data sources)."""
    # a preview in 4.3; older versions have no such setting and do not mind
    spark.conf.set("spark.sql.timeType.enabled", "true")
    with FakeServer() as server:
        place: Place = (
            Server(server) if request.param == "server" else Embedded(str(tmp_path_factory.mktemp("types") / "store"))
        )
        if request.param == "server" and HAS_DATA_SOURCES:
            save(rows(spark), place)
        else:
            write(rows(spark), place.name, **place.options, encoder=HASH)
        yield {key: payload for key, (_, payload) in place.points().items()}
    spark.conf.unset("spark.sql.timeType.enabled")


@pytest.mark.parametrize("name", CASES)
def test_value(stored: dict[int, dict[str, Any]], name: str) -> None:
    """The stored value is the documented one, of the documented type, and a null beside it stays a null."""
    case = CASES[name]
    if case.since > SPARK:
        pytest.skip(f"Spark {SPARK[0]}.{SPARK[1]} has no such type, {case.since[0]}.{case.since[1]} has")
    # as text 1 is neither true nor 1.0
    assert json.dumps(stored[2][name], sort_keys=True) == json.dumps(case.stored, sort_keys=True)
    assert (stored[1][name], stored[3][name]) == (None, None)


def test_no_column_is_lost(stored: dict[int, dict[str, Any]]) -> None:
    """The payload has the columns of the DataFrame and no others."""
    assert set(stored[2]) == {"id", "text", *PRESENT}


@pytest.mark.parametrize("name", REFUSED)
def test_a_type_without_a_mapping_is_refused_by_name(spark: SparkSession, fake_server: FakeServer, name: str) -> None:
    """The plan names the column, before the job, and no other."""
    if name == "interval_calendar" and SPARK < (4, 0):
        pytest.skip("Spark 3.5 cannot even tell the schema of such a DataFrame in Python")
    df = spark.sql(f"SELECT 1 AS id, 'one' AS text, {REFUSED[name]} AS {name}")
    problems = check(df, "articles", url=fake_server.url, encoder=HASH).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"column '{name}' cannot become payload: ")
    assert problems[0].endswith("; cast it, or leave it out with option 'payload_exclude'")


@pytest.mark.parametrize(("value", "shown"), [("CAST('NaN' AS DOUBLE)", "nan"), ("CAST('-Infinity' AS FLOAT)", "-inf")])
def test_a_number_that_json_has_not_is_refused(
    spark: SparkSession, fake_server: FakeServer, value: str, shown: str
) -> None:
    """Row, column and value are named."""
    with pytest.raises(
        Exception,
        match=rf"the row with key '7' cannot be written: column 'score' holds {shown}, which a payload cannot; "
        r"make it null",
    ):
        write(
            spark.sql(f"SELECT 7 AS id, 'one' AS text, {value} AS score"), "articles", url=fake_server.url, encoder=HASH
        )


KEYS = {
    "int": Case("7", 7),
    "long_negative": Case("-7L", "-7"),
    "uuid": Case("'0b7e6d1a-5b9c-4c6e-8d43-2f6a3c1f9e10'", "0b7e6d1a-5b9c-4c6e-8d43-2f6a3c1f9e10"),
    "uuid_upper": Case("'0B7E6D1A-5B9C-4C6E-8D43-2F6A3C1F9E10'", "0B7E6D1A-5B9C-4C6E-8D43-2F6A3C1F9E10"),
    "string": Case("'ä 🐈'", "ä 🐈"),
    "date": Case("DATE'2024-02-29'", "2024-02-29"),
    "timestamp": Case("TIMESTAMP'2024-02-29 07:30:00'", "2024-02-29T12:30:00.000000Z"),
    "decimal": Case("CAST(1.50 AS DECIMAL(5, 2))", "1.50"),
    "decimal_integer": Case("CAST(7 AS DECIMAL(18, 0))", 7),
    "decimal_unsigned": Case("CAST(18446744073709551615 AS DECIMAL(20, 0))", 2**64 - 1),
    "decimal_negative": Case("CAST(-7 AS DECIMAL(20, 0))", "-7"),
    "decimal_wide": Case("CAST(18446744073709551616 AS DECIMAL(38, 0))", "18446744073709551616"),
    "boolean": Case("true", "true"),
}


@pytest.mark.parametrize("name", KEYS)
def test_key(spark: SparkSession, fake_server: FakeServer, name: str) -> None:
    """An integer from 0 on and a canonical UUID are the id; anything else is uuid5 of the documented text, by the
    standard library."""
    expected = KEYS[name].stored
    if isinstance(expected, str) and name != "uuid":
        expected = str(uuid.uuid5(uuid.UUID("e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7"), expected))
    write(spark.sql(f"SELECT {KEYS[name].sql} AS id, 'one' AS text"), "articles", url=fake_server.url, encoder=HASH)
    assert list(fake_server.points("articles")) == [expected]


def test_a_key_of_several_columns(spark: SparkSession, fake_server: FakeServer) -> None:
    """Several key columns are the compact JSON array of their values."""
    df = spark.sql(
        "SELECT 'ä' AS a, 7 AS b, DATE'2024-02-29' AS c, CAST(1.50 AS DECIMAL(5, 2)) AS d, 'one' AS text"
    ).withColumn("e", f.lit(True))
    write(df, "articles", url=fake_server.url, encoder=HASH, id_column="a,b,c,d,e")
    text = '["ä",7,"2024-02-29","1.50",true]'
    assert list(fake_server.points("articles")) == [
        str(uuid.uuid5(uuid.UUID("e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7"), text))
    ]

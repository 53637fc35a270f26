-- kreset's events in ClickHouse: what is kept of them, and for how long.
--
-- Tested with ClickHouse 26.9. Run this file once, then correlate.sql, then kafka.sql:
--     clickhouse-client --multiquery < tables.sql
--
-- Each statement may be repeated. Times are nanoseconds since 1970 by the clock of the host that
-- wrote the event. A text that is null in the event is '' here.

CREATE DATABASE IF NOT EXISTS kreset;

-- A hexadecimal number of an id.
CREATE OR REPLACE FUNCTION kreset_number AS (text) ->
    reinterpretAsUInt64(reverse(unhex(leftPad(text, 16, '0'))));

-- An RFC 3339 time in nanoseconds since 1970.
CREATE OR REPLACE FUNCTION kreset_ns AS (text) ->
    toUnixTimestamp64Nano(parseDateTime64BestEffortOrZero(text, 9, 'UTC'));

-- A range of ports, `9092` or `9094-9096`: its first and last.
CREATE OR REPLACE FUNCTION kreset_ports AS (text) ->
    (toUInt16OrZero(splitByChar('-', text)[1]), toUInt16OrZero(splitByChar('-', text)[-1]));

-- Where lines of JSON come in, from a topic (kafka.sql) or from files:
--     INSERT INTO kreset.lines SELECT line FROM file('*.jsonl', LineAsString, 'line String')
-- Nothing is kept here.
CREATE TABLE IF NOT EXISTS kreset.lines (line String) ENGINE = Null;

-- What correlation and the dashboard need of each event. An event that is delivered twice is one
-- row once parts are merged, and always for FINAL.
CREATE TABLE IF NOT EXISTS kreset.events
(
    at_ns Int64 CODEC(Delta, ZSTD),
    id String CODEC(ZSTD),
    kind LowCardinality(String),
    host LowCardinality(String),
    -- The id's three numbers: the host's boot, the agent's run, the event of the run.
    boot UInt64,
    run UInt64,
    number UInt64 CODEC(Delta, ZSTD),
    -- The end of a connection: reset, close or timeout.
    direction LowCardinality(String),
    role LowCardinality(String),
    verdict LowCardinality(String),
    cause LowCardinality(String),
    confidence Float64,
    client_address String,
    client_port UInt16,
    broker_address String,
    broker_port UInt16,
    community_id String,
    flow_id String,
    sequence Nullable(UInt32),
    wire_idle_ms Nullable(Float64),
    provoked_by LowCardinality(String),
    kreset_probe LowCardinality(String),
    kernel_reason LowCardinality(String),
    -- Of what a device may have done, the share of idle resets.
    idle_share Nullable(Float64),
    advice LowCardinality(String),
    -- What a start or a summary says of the agent.
    degraded Bool,
    is_last Bool,
    ports Array(Tuple(UInt16, UInt16)),
    addresses Array(String),
    lost UInt64,
    unshown UInt64,
    -- What the other end saw, if both are on this host and the event is of both.
    other_role LowCardinality(String),
    other_ns Int64,
    other_direction LowCardinality(String),
    other_client_address String,
    other_client_port UInt16,
    other_broker_address String,
    other_broker_port UInt16,
    other_wire_idle_ms Nullable(Float64),
    other_kernel_reason LowCardinality(String),
    time DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(at_ns, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(fromUnixTimestamp64Nano(at_ns, 'UTC'))
ORDER BY (at_ns, id)
TTL toDateTime(fromUnixTimestamp64Nano(at_ns, 'UTC')) + INTERVAL 14 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.events_from_lines TO kreset.events AS
WITH
    JSONExtract(line, 'Tuple(
        schema String, id String, type String, time String, host Tuple(name String),
        direction String, role String, verdict String, cause String, confidence Float64,
        client Tuple(address String, port UInt16), broker Tuple(address String, port UInt16),
        community_id String,
        connection Tuple(flow_id String, wire_idle_ms Nullable(Float64), provoked_by String),
        reset Tuple(sequence Nullable(UInt32), kernel_reason String),
        candidates Array(Tuple(verdict String, share Float64)),
        kreset_probe String, advice String, degraded Array(Tuple(feature String)), end Bool,
        other_end Tuple(
            time String, role String, direction String, client Tuple(address String, port UInt16),
            broker Tuple(address String, port UInt16), wire_idle_ms Nullable(Float64), kernel_reason String),
        coverage Tuple(ports Array(String), addresses Array(String), kernel_lost UInt64,
            kernel_skipped UInt64, kernel_untracked UInt64, unobserved UInt64, unshown UInt64,
            sinks Map(String, Tuple(lost UInt64))))') AS it,
    splitByChar('-', it.id) AS numbers,
    arraySum(likely -> if(likely.verdict = 'middlebox_idle_reset', likely.share, 0), it.candidates) AS idle,
    arraySum(likely -> if(likely.verdict = 'middlebox_reset', likely.share, 0), it.candidates) AS busy
SELECT
    kreset_ns(it.time) AS at_ns,
    it.id AS id,
    it.type AS kind,
    it.host.name AS host,
    kreset_number(numbers[1]) AS boot,
    kreset_number(numbers[2]) AS run,
    kreset_number(numbers[3]) AS number,
    it.direction AS direction,
    it.role AS role,
    it.verdict AS verdict,
    it.cause AS cause,
    it.confidence AS confidence,
    it.client.address AS client_address,
    it.client.port AS client_port,
    it.broker.address AS broker_address,
    it.broker.port AS broker_port,
    it.community_id AS community_id,
    it.connection.flow_id AS flow_id,
    it.reset.sequence AS sequence,
    it.connection.wire_idle_ms AS wire_idle_ms,
    it.connection.provoked_by AS provoked_by,
    it.kreset_probe AS kreset_probe,
    it.reset.kernel_reason AS kernel_reason,
    if(idle + busy > 0, idle / (idle + busy), NULL) AS idle_share,
    it.advice AS advice,
    -- Without these the host sends RSTs that it does not report.
    arrayExists(lacks -> lacks.feature IN ('sent-resets', 'socketless'), it.degraded) AS degraded,
    it.end AS is_last,
    arrayMap(text -> kreset_ports(text), it.coverage.ports) AS ports,
    it.coverage.addresses AS addresses,
    it.coverage.kernel_lost + it.coverage.kernel_skipped + it.coverage.kernel_untracked
        + it.coverage.unobserved + arraySum(sink -> sink.lost, mapValues(it.coverage.sinks)) AS lost,
    it.coverage.unshown AS unshown,
    it.other_end.role AS other_role,
    if(other_role = '', 0, kreset_ns(it.other_end.time)) AS other_ns,
    it.other_end.direction AS other_direction,
    it.other_end.client.address AS other_client_address,
    it.other_end.client.port AS other_client_port,
    it.other_end.broker.address AS other_broker_address,
    it.other_end.broker.port AS other_broker_port,
    it.other_end.wire_idle_ms AS other_wire_idle_ms,
    it.other_end.kernel_reason AS other_kernel_reason
FROM kreset.lines
WHERE it.schema = 'kreset/1' AND it.type != 'finding' AND length(numbers) = 3 AND it.host.name != '';

-- Lines that are no event of this version of the schema, by what they say of themselves.
CREATE TABLE IF NOT EXISTS kreset.unusable
(
    received DateTime DEFAULT now(),
    schema String,
    beginning String
)
ENGINE = MergeTree
ORDER BY received
TTL received + INTERVAL 14 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.unusable_from_lines TO kreset.unusable AS
SELECT JSONExtractString(line, 'schema') AS schema, substring(line, 1, 1000) AS beginning
FROM kreset.lines
WHERE schema != 'kreset/1' OR JSONExtractString(line, 'type') != 'finding'
    AND (JSONExtractString(line, 'host', 'name') = '' OR length(splitByChar('-', JSONExtractString(line, 'id'))) != 3);

-- When each run of an agent was attached. Agents run for months, so this outlives the events.
CREATE TABLE IF NOT EXISTS kreset.starts
(
    host LowCardinality(String),
    boot UInt64,
    run UInt64,
    start_ns Int64,
    degraded Bool
)
ENGINE = ReplacingMergeTree
ORDER BY (host, boot, run)
TTL toDateTime(fromUnixTimestamp64Nano(start_ns, 'UTC')) + INTERVAL 2 YEAR;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.starts_from_events TO kreset.starts AS
SELECT host, boot, run, at_ns AS start_ns, degraded FROM kreset.events WHERE kind = 'start';

-- Which runs of agents report from an address, and until when they did.
CREATE TABLE IF NOT EXISTS kreset.owners
(
    address String,
    host LowCardinality(String),
    boot UInt64,
    run UInt64,
    last_ns Int64
)
ENGINE = ReplacingMergeTree(last_ns)
ORDER BY (address, host, boot, run)
TTL toDateTime(fromUnixTimestamp64Nano(last_ns, 'UTC')) + INTERVAL 14 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.owners_from_events TO kreset.owners AS
SELECT arrayJoin(addresses) AS address, host, boot, run, max(at_ns) AS last_ns
FROM kreset.events WHERE kind = 'summary'
GROUP BY address, host, boot, run;

-- Connections that `kreset-trace probe` opened, as its own event lists them.
CREATE TABLE IF NOT EXISTS kreset.probed
(
    client_address String,
    client_port UInt16,
    broker_address String,
    broker_port UInt16,
    host LowCardinality(String),
    boot UInt64,
    opened_ns Int64,
    ended_ns Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_address, client_port, broker_address, broker_port, opened_ns)
TTL toDateTime(fromUnixTimestamp64Nano(ended_ns, 'UTC')) + INTERVAL 14 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.probed_from_lines TO kreset.probed AS
WITH
    JSONExtract(line, 'Tuple(
        schema String, id String, type String, host Tuple(name String),
        broker Tuple(address String, port UInt16),
        connections Array(Tuple(client Tuple(address String, port UInt16), opened String, ended String)))') AS it,
    arrayJoin(it.connections) AS listed
SELECT
    listed.client.address AS client_address,
    listed.client.port AS client_port,
    it.broker.address AS broker_address,
    it.broker.port AS broker_port,
    it.host.name AS host,
    kreset_number(splitByChar('-', it.id)[1]) AS boot,
    kreset_ns(listed.opened) AS opened_ns,
    kreset_ns(listed.ended) AS ended_ns
FROM kreset.lines
WHERE position(line, '"probe"') > 0 AND it.schema = 'kreset/1' AND it.type = 'probe';

-- kreset's events in Flink SQL: the topic, and the tables that the steps of correlate.sql write.
--
-- Tested with Flink 2.3.0 and its Kafka connector 5.0.0-2.2, as a batch job (see docs/correlate.md):
--     SET 'execution.runtime-mode' = 'batch';
--     SET 'table.local-time-zone' = 'UTC';
--
-- Set the brokers, the topics and where the steps keep their tables. Times are nanoseconds since
-- 1970 by the clock of the host that wrote the event. A text that is null in the event is '' here.

-- What correlation needs of each event. Of the topic's records those are read that are no older
-- than `scan.startup.timestamp-millis`, if that is added: an hour and a quarter before what is to
-- be judged, so that clocks and agents are known.
CREATE TABLE kreset_topic (
    `schema` STRING,
    id STRING,
    `type` STRING,
    `time` STRING,
    host ROW<name STRING>,
    direction STRING,
    `role` STRING,
    verdict STRING,
    cause STRING,
    confidence DOUBLE,
    client ROW<address STRING, port INT>,
    broker ROW<address STRING, port INT>,
    community_id STRING,
    `connection` ROW<flow_id STRING, wire_idle_ms DOUBLE, provoked_by STRING>,
    `reset` ROW<`sequence` BIGINT, kernel_reason STRING>,
    candidates ARRAY<ROW<verdict STRING, share DOUBLE>>,
    kreset_probe STRING,
    other_end ROW<`time` STRING, `role` STRING, direction STRING, client ROW<address STRING, port INT>,
        broker ROW<address STRING, port INT>, wire_idle_ms DOUBLE, kernel_reason STRING>,
    advice STRING,
    degraded ARRAY<ROW<feature STRING>>,
    `end` BOOLEAN,
    coverage ROW<ports ARRAY<STRING>, addresses ARRAY<STRING>, kernel_lost BIGINT, kernel_skipped BIGINT,
        kernel_untracked BIGINT, unobserved BIGINT, unshown BIGINT, sinks MAP<STRING, ROW<lost BIGINT>>>,
    `connections` ARRAY<ROW<client ROW<address STRING, port INT>, opened STRING, ended STRING>>
) WITH (
    'connector' = 'kafka',
    'topic' = 'kreset',
    'properties.bootstrap.servers' = 'kafka.example:9092',
    'properties.group.id' = 'kreset-flink',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

-- Findings, with the fields that the schema gives them but for `summary`, which is in words. A
-- text that is null there is '' here, and a time is 0. The key is the finding's id: let the topic
-- be compacted, and a finding that is written twice is one.
CREATE TABLE kreset_findings (
    at_ns BIGINT,
    id STRING,
    host STRING,
    community_id STRING,
    flow_id STRING,
    sent_by STRING,
    kreset_probe STRING,
    verdict STRING,
    cause STRING,
    confidence DOUBLE,
    proof STRING,
    missing ARRAY<STRING>,
    conflict STRING,
    client ROW<address STRING, port INT>,
    broker ROW<address STRING, port INT>,
    client_host ROW<name STRING, saw STRING, at_ns BIGINT, client ROW<address STRING, port INT>, broker ROW<address STRING, port INT>, verdict STRING, cause STRING, confidence DOUBLE, kernel_reason STRING, watched_from_ns BIGINT, watched_until_ns BIGINT>,
    broker_host ROW<name STRING, saw STRING, at_ns BIGINT, client ROW<address STRING, port INT>, broker ROW<address STRING, port INT>, verdict STRING, cause STRING, confidence DOUBLE, kernel_reason STRING, watched_from_ns BIGINT, watched_until_ns BIGINT>,
    skew_ms DOUBLE,
    wire_idle_ms DOUBLE,
    event_ids ARRAY<STRING>,
    advice STRING
) WITH (
    'connector' = 'kafka',
    'topic' = 'kreset-findings',
    'properties.bootstrap.servers' = 'kafka.example:9092',
    'key.format' = 'raw',
    'key.fields' = 'id',
    'value.format' = 'json'
);

-- Events, each once, without what correlation does not need. A run and an event are the
-- hexadecimal numbers of the id, padded, so that their texts are in order; a machine is a host in
-- one boot.
CREATE TABLE kreset_events (
    id STRING,
    at_ns BIGINT,
    kind STRING,
    host STRING,
    machine STRING,
    run STRING,
    origin STRING,
    `number` BIGINT,
    is_sent BOOLEAN,
    `role` STRING,
    verdict STRING,
    cause STRING,
    confidence DOUBLE,
    client STRING,
    client_port INT,
    broker STRING,
    broker_port INT,
    community_id STRING,
    flow_id STRING,
    `sequence` BIGINT,
    wire_idle_ms DOUBLE,
    provoked_by STRING,
    kreset_probe STRING,
    kernel_reason STRING,
    candidates ARRAY<ROW<verdict STRING, share DOUBLE>>,
    other_end ROW<`time` STRING, `role` STRING, direction STRING, client ROW<address STRING, port INT>,
        broker ROW<address STRING, port INT>, wire_idle_ms DOUBLE, kernel_reason STRING>,
    advice STRING,
    degraded ARRAY<ROW<feature STRING>>,
    is_last BOOLEAN,
    ports ARRAY<STRING>,
    addresses ARRAY<STRING>,
    lost BIGINT,
    sinks MAP<STRING, ROW<lost BIGINT>>,
    unshown BIGINT,
    listed ARRAY<ROW<client ROW<address STRING, port INT>, opened STRING, ended STRING>>
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/events', 'format' = 'json');

-- Ends of connections as one host saw them; an event of both ends is two, of which one has another
-- `id` than its `event`.
CREATE TABLE kreset_ends (
    id STRING, event STRING, at_ns BIGINT, kind STRING, host STRING, machine STRING, run STRING,
    origin STRING, is_sent BOOLEAN, `role` STRING, saw STRING, verdict STRING, cause STRING,
    confidence DOUBLE, client STRING, client_port INT, broker STRING, broker_port INT,
    community_id STRING, flow_id STRING, `sequence` BIGINT, wire_idle_ms DOUBLE, provoked_by STRING,
    kreset_probe STRING, kernel_reason STRING, advice STRING, cluster STRING, ends STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/ends', 'format' = 'json');

CREATE TABLE kreset_clocks (
    here STRING, there STRING, since_ns BIGINT, until_ns BIGINT, ahead_ns BIGINT
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/clocks', 'format' = 'json');

CREATE TABLE kreset_joins (
    cluster STRING, is_joined BOOLEAN, joined STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/joins', 'format' = 'json');

CREATE TABLE kreset_principals (
    pair STRING, `role` STRING, is_ambiguous BOOLEAN, id STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/principals', 'format' = 'json');

CREATE TABLE kreset_spans (
    machine STRING, run STRING, from_ns BIGINT, until_ns BIGINT, since_ns BIGINT, vouched_ns BIGINT,
    ports STRING, addresses ARRAY<STRING>, has_lost BOOLEAN, has_left_out BOOLEAN
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/spans', 'format' = 'json');

-- Its directory has to exist before the first run.
CREATE TABLE kreset_runs (
    machine STRING, run STRING, start_ns BIGINT, degraded BOOLEAN
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/runs', 'format' = 'json');

CREATE TABLE kreset_asked (
    pair STRING, `role` STRING, is_ambiguous BOOLEAN, has_reported BOOLEAN, machine STRING, run STRING,
    reported_ns BIGINT, is_about_other BOOLEAN, other STRING, about_ns BIGINT, flow_id STRING,
    ends STRING, address STRING, port INT
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/asked', 'format' = 'json');

CREATE TABLE kreset_answers (
    pair STRING, `role` STRING, has_reported BOOLEAN, is_shared BOOLEAN, machine STRING, run STRING,
    at_ns BIGINT, since_ns BIGINT, vouched_ns BIGINT, lacks STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/answers', 'format' = 'json');

CREATE TABLE kreset_doubts (
    pair STRING, `role` STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/doubts', 'format' = 'json');

CREATE TABLE kreset_ruled (
    pair STRING, has_c BOOLEAN, has_b BOOLEAN, c_machine STRING, c_host STRING, c_saw STRING,
    c_is_sent BOOLEAN, c_at_ns BIGINT, c_client STRING, c_client_port INT, c_broker STRING,
    c_broker_port INT, c_verdict STRING, c_cause STRING, c_confidence DOUBLE, c_reason STRING,
    c_flow_id STRING, c_community_id STRING, c_provoked_by STRING, c_sequence BIGINT,
    c_idle_ms DOUBLE, c_advice STRING, b_machine STRING, b_host STRING, b_saw STRING,
    b_is_sent BOOLEAN, b_at_ns BIGINT, b_client STRING, b_client_port INT, b_broker STRING,
    b_broker_port INT, b_verdict STRING, b_cause STRING, b_confidence DOUBLE, b_reason STRING,
    b_flow_id STRING, b_community_id STRING, b_provoked_by STRING, b_sequence BIGINT,
    b_idle_ms DOUBLE, b_advice STRING, cw_machine STRING, cw_lacks STRING, cw_is_whole BOOLEAN,
    cw_since_ns BIGINT, cw_vouched_ns BIGINT, bw_machine STRING, bw_lacks STRING,
    bw_is_whole BOOLEAN, bw_since_ns BIGINT, bw_vouched_ns BIGINT, c_surely DOUBLE, b_surely DOUBLE,
    may_be_same BOOLEAN,
    c_said STRING, b_said STRING, c_idle_share DOUBLE, b_idle_share DOUBLE, rule STRING, subject STRING
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/ruled', 'format' = 'json');

CREATE TABLE kreset_weighed (
    pair STRING, rule STRING, subject STRING, has_both BOOLEAN, it_saw STRING, it_verdict STRING,
    it_cause STRING, it_said STRING, it_confidence DOUBLE, it_provoked_by STRING, idle DOUBLE, lacks STRING,
    is_proven BOOLEAN
) WITH ('connector' = 'filesystem', 'path' = 'file:///var/lib/kreset-flink/weighed', 'format' = 'json');

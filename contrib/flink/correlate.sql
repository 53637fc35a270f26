-- What `kreset-trace correlate` finds, found by Flink SQL: the same rules, each as a step.
--
-- Run after tables.sql, in order; each INSERT reads what those before it wrote. What is judged is
-- in kreset_scope alone. docs/two-hosts.md has the rules in words, contrib/clickhouse/correlate.sql
-- the same steps.

-- Ends that were first reported from `judge_from_ns` and before `judge_until_ns` are judged: those
-- of the last whole minute of which all has been read, 10 s out of order and three summaries. One
-- run a minute judges each minute once; to judge others, say which.
CREATE TEMPORARY VIEW kreset_scope AS
SELECT
    ((UNIX_TIMESTAMP() - 40) / 60 - 1) * 60000000000 AS judge_from_ns,
    (UNIX_TIMESTAMP() - 40) / 60 * 60000000000 AS judge_until_ns,
    -- How far out of order events may come.
    CAST(10000000000 AS BIGINT) AS window_ns;

-- Events of the topic, each once.
INSERT OVERWRITE kreset_events
SELECT
    id, at_ns, kind, host, machine, run,
    machine || ' ' || run || ' ' || hex AS origin,
    -- The last eight digits: a run has fewer events than 4,294,967,296.
    CAST(INSTR('123456789abcdef', SUBSTRING(hex, 9, 1)) AS BIGINT) * 268435456
        + INSTR('123456789abcdef', SUBSTRING(hex, 10, 1)) * 16777216
        + INSTR('123456789abcdef', SUBSTRING(hex, 11, 1)) * 1048576
        + INSTR('123456789abcdef', SUBSTRING(hex, 12, 1)) * 65536
        + INSTR('123456789abcdef', SUBSTRING(hex, 13, 1)) * 4096
        + INSTR('123456789abcdef', SUBSTRING(hex, 14, 1)) * 256
        + INSTR('123456789abcdef', SUBSTRING(hex, 15, 1)) * 16
        + INSTR('123456789abcdef', SUBSTRING(hex, 16, 1)) AS `number`,
    is_sent, `role`, verdict, cause, confidence, client, client_port, broker, broker_port, community_id, flow_id,
    `sequence`, wire_idle_ms, provoked_by, kreset_probe, kernel_reason, candidates, other_end, advice, degraded, is_last,
    ports, addresses, lost, sinks, unshown, listed
FROM (
    SELECT
        id,
        UNIX_TIMESTAMP(SUBSTRING(`time`, 1, 19), 'yyyy-MM-dd''T''HH:mm:ss') * 1000000000
            + CAST(RPAD(COALESCE(NULLIF(REGEXP_EXTRACT(`time`, '[.](\d+)', 1), ''), '0'), 9, '0') AS BIGINT) AS at_ns,
        `type` AS kind,
        host.name AS host,
        LPAD(SPLIT_INDEX(id, '-', 0), 16, '0') || ' ' || host.name AS machine,
        LPAD(SPLIT_INDEX(id, '-', 1), 16, '0') AS run,
        LPAD(SPLIT_INDEX(id, '-', 2), 16, '0') AS hex,
        COALESCE(direction, '') = 'sent' AS is_sent,
        COALESCE(`role`, '') AS `role`,
        COALESCE(verdict, '') AS verdict,
        COALESCE(cause, '') AS cause,
        confidence,
        COALESCE(client.address, '') AS client, COALESCE(client.port, 0) AS client_port,
        COALESCE(broker.address, '') AS broker, COALESCE(broker.port, 0) AS broker_port,
        COALESCE(community_id, '') AS community_id,
        COALESCE(`connection`.flow_id, '') AS flow_id,
        `reset`.`sequence` AS `sequence`,
        `connection`.wire_idle_ms AS wire_idle_ms,
        COALESCE(`connection`.provoked_by, '') AS provoked_by,
        COALESCE(kreset_probe, '') AS kreset_probe,
        COALESCE(`reset`.kernel_reason, '') AS kernel_reason,
        candidates,
        other_end,
        COALESCE(advice, '') AS advice,
        degraded,
        COALESCE(`end`, FALSE) AS is_last,
        coverage.ports AS ports,
        coverage.addresses AS addresses,
        coverage.kernel_lost + coverage.kernel_skipped + coverage.kernel_untracked + coverage.unobserved AS lost,
        coverage.sinks AS sinks,
        coverage.unshown AS unshown,
        `connections` AS listed,
        ROW_NUMBER() OVER (PARTITION BY id ORDER BY `time`) AS copy
    FROM kreset_topic
    WHERE `schema` = 'kreset/1' AND `type` <> 'finding' AND SPLIT_INDEX(id, '-', 2) IS NOT NULL)
WHERE copy = 1;

-- Ends of connections as one host saw them; an event of both ends of a connection is two. Those of
-- one flow are one cluster; an event without a flow is one of its own.
INSERT OVERWRITE kreset_ends
SELECT
    id, event, at_ns, kind, host, machine, run, origin, is_sent, `role`,
    -- A RST by which a kernel gives up after unanswered keepalives is no cause but a consequence.
    CASE
        WHEN kind = 'timeout' THEN 'timeout'
        WHEN kind = 'close' THEN 'closed'
        WHEN NOT is_sent THEN 'received'
        WHEN kernel_reason = 'TCP_KEEPALIVE_TIMEOUT' OR verdict = 'middlebox_idle_drop' THEN 'timeout'
        ELSE 'sent'
    END AS saw,
    verdict, cause, confidence, client, client_port, broker, broker_port, community_id, flow_id,
    `sequence`, wire_idle_ms, provoked_by, kreset_probe, kernel_reason, advice,
    CASE WHEN flow_id = '' THEN event ELSE flow_id END AS cluster,
    client || ' ' || CAST(client_port AS STRING) || ' ' || broker || ' ' || CAST(broker_port AS STRING) AS ends
FROM (
    SELECT
        id, id AS event, at_ns, kind, host, machine, run, origin, is_sent, `role`, verdict, cause, confidence,
        client, client_port, broker, broker_port, community_id, flow_id, `sequence`, wire_idle_ms, provoked_by,
        kreset_probe,
        -- That of the end that sent it.
        CASE WHEN other_end.`role` IS NOT NULL AND NOT is_sent THEN '' ELSE kernel_reason END AS kernel_reason,
        advice
    FROM kreset_events
    UNION ALL
    SELECT
        id || ' other' AS id, id AS event,
        UNIX_TIMESTAMP(SUBSTRING(other_end.`time`, 1, 19), 'yyyy-MM-dd''T''HH:mm:ss') * 1000000000
            + CAST(RPAD(COALESCE(NULLIF(REGEXP_EXTRACT(other_end.`time`, '[.](\d+)', 1), ''), '0'), 9, '0') AS BIGINT) AS at_ns,
        kind, host, machine, run, origin, other_end.direction = 'sent' AS is_sent, other_end.`role` AS `role`,
        verdict, cause, confidence, other_end.client.address AS client, other_end.client.port AS client_port,
        other_end.broker.address AS broker, other_end.broker.port AS broker_port, community_id, flow_id, `sequence`,
        other_end.wire_idle_ms AS wire_idle_ms, '' AS provoked_by, kreset_probe,
        COALESCE(other_end.kernel_reason, '') AS kernel_reason, advice
    FROM kreset_events WHERE other_end.`role` IS NOT NULL)
WHERE kind IN ('reset', 'close', 'timeout');

-- Clusters of which both hosts reported an event.
CREATE TEMPORARY VIEW kreset_whole AS
SELECT cluster, TRUE AS is_whole FROM kreset_ends
GROUP BY cluster HAVING MIN(`role`) <> MAX(`role`);

-- How far ahead the clock of one machine is of another's: from `since_ns` on and before
-- `until_ns`, the median of the last 32 RSTs that both saw, of an hour at most.
INSERT OVERWRITE kreset_clocks
WITH
    met AS (
        SELECT first_one, second_one, seen_ns, sent, MAX(ahead_ns) AS ahead_ns
        FROM (
            SELECT
                CASE WHEN c.machine < b.machine THEN c.machine ELSE b.machine END AS first_one,
                CASE WHEN c.machine < b.machine THEN b.machine ELSE c.machine END AS second_one,
                GREATEST(c.at_ns, b.at_ns) AS seen_ns,
                CASE WHEN c.is_sent THEN c.origin ELSE b.origin END AS sent,
                CASE WHEN c.machine < b.machine THEN b.at_ns - c.at_ns ELSE c.at_ns - b.at_ns END AS ahead_ns
            FROM kreset_ends AS c JOIN kreset_ends AS b ON c.flow_id = b.flow_id
            WHERE c.flow_id <> '' AND c.`role` = 'client' AND b.`role` = 'broker'
                AND c.kind = 'reset' AND b.kind = 'reset' AND c.is_sent <> b.is_sent AND c.machine <> b.machine
                -- The same RST: after a FIN two numbers are accepted.
                AND MOD(CASE WHEN c.is_sent THEN c.`sequence` - b.`sequence` ELSE b.`sequence` - c.`sequence` END
                    + 4294967297, 4294967296) <= 2)
        GROUP BY first_one, second_one, seen_ns, sent),
    placed AS (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY first_one, second_one ORDER BY seen_ns, sent) AS place FROM met),
    -- Each with the last ones before it, from the least to the greatest.
    sorted AS (
        SELECT
            it.first_one, it.second_one, it.seen_ns, it.place, earlier.ahead_ns,
            ROW_NUMBER() OVER (PARTITION BY it.first_one, it.second_one, it.place ORDER BY earlier.ahead_ns) AS nth,
            COUNT(*) OVER (PARTITION BY it.first_one, it.second_one, it.place) AS of_all
        FROM placed AS it JOIN placed AS earlier
            ON earlier.first_one = it.first_one AND earlier.second_one = it.second_one
            AND earlier.place BETWEEN it.place - 31 AND it.place
            AND earlier.seen_ns >= it.seen_ns - 3600000000000),
    -- Of an event, RSTs that were seen until the window was over count too.
    lasting AS (
        SELECT
            first_one, second_one, seen_ns - window_ns AS since_ns, ahead_ns,
            COALESCE(LEAD(seen_ns) OVER (PARTITION BY first_one, second_one ORDER BY seen_ns, place) - window_ns,
                9223372036854775807) AS until_ns
        FROM sorted, kreset_scope WHERE nth = of_all / 2 + 1)
SELECT first_one, second_one, since_ns, until_ns, ahead_ns FROM lasting WHERE since_ns < until_ns
UNION ALL
SELECT second_one, first_one, since_ns, until_ns, -ahead_ns FROM lasting WHERE since_ns < until_ns;

-- Clusters of one host that belong to one of another host, `joined`: by the number of the RST,
-- else by both ends. If several fit, or one that fits another as well, none is taken.
INSERT OVERWRITE kreset_joins
WITH
    alone AS (
        SELECT ends.* FROM kreset_ends AS ends LEFT JOIN kreset_whole AS whole ON whole.cluster = ends.cluster
        WHERE whole.is_whole IS NULL),
    c AS (SELECT * FROM alone WHERE `role` = 'client'),
    b AS (SELECT * FROM alone WHERE `role` = 'broker'),
    fitting AS (
        SELECT c.cluster AS mine, b.cluster AS theirs, c.machine AS here, b.machine AS there,
            c.at_ns AS at_ns, b.at_ns AS other_ns, 1 AS way
        FROM c JOIN b ON c.`sequence` = b.`sequence`
        WHERE c.`sequence` <> 0 AND c.is_sent <> b.is_sent AND (c.flow_id = '' OR b.flow_id = '')
        UNION ALL
        SELECT c.cluster AS mine, b.cluster AS theirs, c.machine AS here, b.machine AS there,
            c.at_ns AS at_ns, b.at_ns AS other_ns, 2 AS way
        FROM c JOIN b ON c.ends = b.ends
        WHERE (c.flow_id = '' OR b.flow_id = '') AND (c.is_sent = b.is_sent
            OR COALESCE(MOD(CASE WHEN c.is_sent THEN c.`sequence` - b.`sequence` ELSE b.`sequence` - c.`sequence` END
                + 4294967297, 4294967296) <= 2, TRUE))),
    near AS (
        SELECT DISTINCT it.mine, it.theirs, it.way
        FROM fitting AS it LEFT JOIN kreset_clocks AS clock
            ON clock.here = it.here AND clock.there = it.there
            AND LEAST(it.at_ns, it.other_ns) >= clock.since_ns AND LEAST(it.at_ns, it.other_ns) < clock.until_ns
        WHERE ABS(it.at_ns + COALESCE(clock.ahead_ns, 0) - it.other_ns) <= 5000000000),
    ways AS (
        SELECT mine AS cluster, theirs AS other, MIN(way) AS way FROM near GROUP BY mine, theirs
        UNION ALL
        SELECT theirs AS cluster, mine AS other, MIN(way) AS way FROM near GROUP BY mine, theirs),
    partners AS (
        SELECT ways.cluster, CASE WHEN COUNT(*) = 1 THEN MIN(ways.other) ELSE '' END AS partner
        FROM ways JOIN (SELECT cluster, MIN(way) AS way FROM ways GROUP BY cluster) AS best
            ON best.cluster = ways.cluster AND best.way = ways.way
        GROUP BY ways.cluster)
SELECT
    it.cluster,
    COALESCE(other.partner = it.cluster, FALSE) AS is_joined,
    CASE WHEN other.partner = it.cluster THEN LEAST(it.cluster, it.partner) ELSE it.cluster END AS joined
FROM partners AS it LEFT JOIN partners AS other ON other.cluster = it.partner;

-- What belongs to one end of a connection.
CREATE TEMPORARY VIEW kreset_paired AS
SELECT
    ends.*,
    COALESCE(joins.joined, ends.cluster) AS pair,
    COALESCE(NOT joins.is_joined, FALSE) AS is_ambiguous
FROM kreset_ends AS ends LEFT JOIN kreset_joins AS joins ON joins.cluster = ends.cluster;

-- Which event of either host stands for it: of several the oldest, and of several RSTs the one
-- that the other host received.
INSERT OVERWRITE kreset_principals
WITH
    received AS (
        SELECT pair, `role`, `sequence`
        FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY pair, `role` ORDER BY at_ns, origin) AS nth
            FROM kreset_paired WHERE saw = 'received')
        WHERE nth = 1),
    ranked AS (
        SELECT it.pair, it.`role`, it.is_ambiguous, it.id,
            ROW_NUMBER() OVER (
                PARTITION BY it.pair, it.`role`
                ORDER BY
                    CASE
                        WHEN it.saw = 'sent' AND it.`sequence` IS NOT NULL AND theirs.pair IS NOT NULL
                            AND COALESCE(MOD(it.`sequence` - theirs.`sequence` + 4294967297, 4294967296) <= 2, TRUE) THEN 0
                        WHEN it.saw = 'received' THEN 1
                        ELSE 2
                    END, it.at_ns, it.origin) AS nth
        FROM kreset_paired AS it
        LEFT JOIN received AS theirs ON theirs.pair = it.pair AND theirs.`role` <> it.`role`)
SELECT pair, `role`, is_ambiguous, id FROM ranked WHERE nth = 1;

-- When each run of an agent was attached, and whether its kernel shows every RST that it sends.
-- Agents run for months: this is kept from run to run, and what is new is added.
INSERT INTO kreset_runs
SELECT it.machine, it.run, it.at_ns AS start_ns, MAX(COALESCE(lacks.feature, '')) <> '' AS degraded
FROM kreset_events AS it
LEFT JOIN UNNEST(it.degraded) AS lacks (feature) ON lacks.feature IN ('sent-resets', 'socketless')
LEFT JOIN kreset_runs AS known ON known.machine = it.machine AND known.run = it.run
WHERE it.kind = 'start' AND known.machine IS NULL
GROUP BY it.machine, it.run, it.at_ns;

-- What each agent watched: for a time of its own clock the row with `from_ns` before and
-- `until_ns` after it. It rests on the start or summary before, at `since_ns`, and the first one
-- that vouches for the time, at `vouched_ns`: events are held for up to a second.
INSERT OVERWRITE kreset_spans
WITH
    numbered AS (
        SELECT id, machine, run, at_ns, kind, is_last, `number`,
            `number` - ROW_NUMBER() OVER (PARTITION BY machine, run ORDER BY `number`) AS gap
        FROM kreset_events),
    watched AS (
        SELECT it.id, it.lost + COALESCE(SUM(sinks.sink.lost), 0) AS lost, it.unshown
        FROM kreset_events AS it LEFT JOIN UNNEST(it.sinks) AS sinks (name, sink) ON TRUE
        WHERE it.kind = 'summary'
        GROUP BY it.id, it.lost, it.unshown),
    reports AS (
        SELECT it.*, COALESCE(watched.lost, 0) AS lost, COALESCE(watched.unshown, 0) AS unshown,
            at_ns - CASE WHEN is_last THEN 0 ELSE 1000000000 END AS last_ns
        FROM numbered AS it LEFT JOIN watched ON watched.id = it.id
        WHERE it.kind IN ('start', 'summary')),
    passing AS (
        SELECT *,
            MAX(last_ns) OVER (PARTITION BY machine, run ORDER BY `number` ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS passed_ns,
            LAG(at_ns, 1) OVER agent AS at_1, LAG(gap, 1) OVER agent AS gap_1, LAG(lost, 1) OVER agent AS lost_1, LAG(unshown, 1) OVER agent AS unshown_1,
            LAG(at_ns, 2) OVER agent AS at_2, LAG(gap, 2) OVER agent AS gap_2, LAG(lost, 2) OVER agent AS lost_2, LAG(unshown, 2) OVER agent AS unshown_2
        FROM reports
        WINDOW agent AS (PARTITION BY machine, run ORDER BY `number`)),
    -- The report just before vouches too, once it is written: between it and a second earlier,
    -- only the one before that does.
    spans AS (
        SELECT id, machine, run, GREATEST(passed_ns + 1, at_1) AS from_ns, last_ns AS until_ns,
            at_1 AS since_ns, at_ns AS vouched_ns, lost > lost_1 OR gap <> gap_1 AS has_lost, unshown > unshown_1 AS has_left_out
        FROM passing WHERE at_1 IS NOT NULL
        UNION ALL
        SELECT id, machine, run, passed_ns + 1 AS from_ns, LEAST(at_1 - 1, last_ns) AS until_ns,
            at_2 AS since_ns, at_ns AS vouched_ns, lost > lost_2 OR gap <> gap_2 AS has_lost, unshown > unshown_2 AS has_left_out
        FROM passing WHERE at_2 IS NOT NULL),
    losses AS (
        SELECT DISTINCT it.id, it.from_ns, TRUE AS is_one
        FROM spans AS it JOIN kreset_events AS loss
            ON loss.machine = it.machine AND loss.run = it.run AND loss.at_ns BETWEEN it.since_ns AND it.vouched_ns
        WHERE loss.kind = 'loss')
SELECT it.machine, it.run, it.from_ns, it.until_ns, it.since_ns, it.vouched_ns,
    COALESCE(ARRAY_JOIN(report.ports, ','), '') AS ports, report.addresses,
    it.has_lost OR COALESCE(losses.is_one, FALSE) AS has_lost, it.has_left_out
FROM spans AS it
JOIN kreset_events AS report ON report.id = it.id
LEFT JOIN losses ON losses.id = it.id AND losses.from_ns = it.from_ns
WHERE it.from_ns <= it.until_ns;

CREATE TEMPORARY VIEW kreset_pairs AS
SELECT
    pair,
    MAX(CASE WHEN is_ambiguous THEN 1 ELSE 0 END) = 1 AS is_ambiguous,
    MAX(CASE WHEN `role` = 'client' THEN id ELSE '' END) AS client_id,
    MAX(CASE WHEN `role` = 'broker' THEN id ELSE '' END) AS broker_id
FROM kreset_principals GROUP BY pair;

-- For either role of a pair: what its host's agent is asked. Whether it would have reported a RST
-- that its host sent, when the other host's event was.
INSERT OVERWRITE kreset_asked
SELECT
    it.pair, it.`role`, it.is_ambiguous,
    it.mine <> '' AS has_reported, COALESCE(mine.machine, '') AS machine, COALESCE(mine.run, '') AS run, COALESCE(mine.at_ns, 0) AS reported_ns,
    it.theirs <> '' AS is_about_other, COALESCE(theirs.machine, '') AS other, COALESCE(theirs.at_ns, 0) AS about_ns,
    COALESCE(theirs.flow_id, '') AS flow_id,
    -- The connection as the host that reported saw it.
    COALESCE(mine.ends, theirs.ends) AS ends,
    CASE WHEN it.`role` = 'client' THEN COALESCE(mine.client, theirs.client) ELSE COALESCE(mine.broker, theirs.broker) END AS address,
    COALESCE(mine.broker_port, theirs.broker_port) AS port
FROM (
    SELECT pair, is_ambiguous, 'client' AS `role`, client_id AS mine, broker_id AS theirs FROM kreset_pairs
    UNION ALL
    SELECT pair, is_ambiguous, 'broker' AS `role`, broker_id AS mine, client_id AS theirs FROM kreset_pairs) AS it
LEFT JOIN kreset_ends AS mine ON mine.id = it.mine
LEFT JOIN kreset_ends AS theirs ON theirs.id = it.theirs;

-- Which runs of agents report from an address.
CREATE TEMPORARY VIEW kreset_owners AS
SELECT DISTINCT has.address, it.machine, it.run
FROM kreset_events AS it CROSS JOIN UNNEST(it.addresses) AS has (address)
WHERE it.kind = 'summary';

-- The answer of the agent that reported, or else of the one whose host has the address. `lacks`
-- says what is missing for a proof, a letter each, in the order of `missing` in the schema; the
-- last step has the words.
INSERT OVERWRITE kreset_answers
WITH
    agents AS (
        SELECT pair, `role`, address, port, has_reported, machine, run, reported_ns, is_about_other, other, about_ns
        FROM kreset_asked WHERE has_reported
        UNION ALL
        SELECT it.pair, it.`role`, it.address, it.port, it.has_reported, owner.machine, owner.run, it.reported_ns, it.is_about_other, it.other, it.about_ns
        FROM kreset_asked AS it JOIN kreset_owners AS owner ON owner.address = it.address
        WHERE NOT it.has_reported),
    -- When it was, by the clock of each.
    timed AS (
        SELECT it.pair, it.`role`, it.address, it.port, it.has_reported, it.machine, it.run,
            CASE
                WHEN NOT it.is_about_other THEN it.reported_ns
                WHEN it.other = it.machine THEN it.about_ns
                WHEN clock.ahead_ns IS NOT NULL THEN it.about_ns + clock.ahead_ns
                WHEN it.has_reported THEN it.reported_ns
                ELSE it.about_ns
            END AS at_ns
        FROM agents AS it LEFT JOIN kreset_clocks AS clock
            ON clock.here = it.other AND clock.there = it.machine
            AND it.about_ns >= clock.since_ns AND it.about_ns < clock.until_ns),
    ended AS (SELECT machine, run, MAX(until_ns) AS last_ns FROM kreset_spans GROUP BY machine, run),
    spanned AS (
        SELECT it.*, runs.start_ns, runs.degraded, ended.last_ns, span.since_ns, span.vouched_ns,
            span.ports, span.addresses, span.has_lost, span.has_left_out
        FROM timed AS it
        LEFT JOIN kreset_runs AS runs ON runs.machine = it.machine AND runs.run = it.run
        LEFT JOIN ended ON ended.machine = it.machine AND ended.run = it.run
        LEFT JOIN kreset_spans AS span ON span.machine = it.machine AND span.run = it.run
            AND it.at_ns >= span.from_ns AND it.at_ns <= span.until_ns),
    traced AS (
        SELECT DISTINCT it.ports, it.port, TRUE AS is_traced
        FROM (SELECT DISTINCT ports, port FROM spanned WHERE ports IS NOT NULL) AS it
        CROSS JOIN UNNEST(SPLIT(it.ports, ',')) AS traced (port_or_range)
        WHERE it.port BETWEEN CAST(SPLIT_INDEX(port_or_range, '-', 0) AS INT)
            AND CAST(COALESCE(SPLIT_INDEX(port_or_range, '-', 1), port_or_range) AS INT)),
    watched AS (
        SELECT it.pair, it.`role`, it.has_reported, it.machine, it.run, it.at_ns,
            COALESCE(it.since_ns, 0) AS since_ns, COALESCE(it.vouched_ns, 0) AS vouched_ns,
            CASE
                WHEN it.start_ns IS NULL OR it.start_ns > it.at_ns THEN 'B'
                WHEN it.last_ns IS NULL OR it.at_ns > it.last_ns THEN 'C'
                WHEN it.since_ns IS NULL THEN 'D'
                ELSE CASE WHEN it.has_lost THEN 'D' ELSE '' END
                    || CASE WHEN it.has_left_out THEN 'E' ELSE '' END
                    || CASE WHEN it.degraded THEN 'F' ELSE '' END
                    || CASE WHEN traced.is_traced THEN '' ELSE 'G' END
                    || CASE WHEN ARRAY_CONTAINS(it.addresses, it.address) THEN '' ELSE 'H' END
            END AS lacks
        FROM spanned AS it LEFT JOIN traced ON traced.ports = it.ports AND traced.port = it.port),
    covering AS (
        SELECT pair, `role`, MIN(machine) <> MAX(machine) AS is_shared
        FROM watched WHERE lacks NOT IN ('B', 'C') GROUP BY pair, `role`),
    -- Of several agents of one host the best one counts; of an earlier run that has ended, or a
    -- later one, nothing follows.
    best AS (
        SELECT *, ROW_NUMBER() OVER (
            PARTITION BY pair, `role`
            ORDER BY CASE WHEN lacks IN ('B', 'C') THEN 1 ELSE 0 END, CHAR_LENGTH(lacks), lacks, machine, run) AS nth
        FROM watched)
SELECT best.pair, best.`role`, best.has_reported, COALESCE(covering.is_shared, FALSE) AS is_shared,
    best.machine, best.run, best.at_ns, best.since_ns, best.vouched_ns,
    CASE WHEN covering.is_shared THEN 'H' ELSE best.lacks END AS lacks
FROM best LEFT JOIN covering ON covering.pair = best.pair AND covering.`role` = best.`role`
WHERE best.nth = 1;

-- Where a host's silence about a pair says nothing, since something between may terminate TCP.
INSERT OVERWRITE kreset_doubts
WITH
    known AS (SELECT DISTINCT address, TRUE AS is_known FROM kreset_owners),
    -- RSTs of which nothing says that they were of another connection than the one in question.
    sent AS (
        SELECT it.at_ns, it.machine, it.run, it.ends, it.client, it.broker,
            it.flow_id <> '' OR COALESCE(it.`sequence`, 0) <> 0 AS is_named,
            COALESCE(client.is_known, FALSE) AS is_client_known,
            COALESCE(broker.is_known, FALSE) AS is_broker_known
        FROM kreset_ends AS it
        LEFT JOIN kreset_whole AS whole ON whole.cluster = it.cluster
        LEFT JOIN kreset_joins AS joins ON joins.cluster = it.cluster
        LEFT JOIN known AS client ON client.address = it.client
        LEFT JOIN known AS broker ON broker.address = it.broker
        WHERE it.kind = 'reset' AND it.is_sent AND whole.is_whole IS NULL AND NOT COALESCE(joins.is_joined, FALSE)),
    -- Each in the two buckets of two seconds in which it may be looked for.
    sent_in AS (
        SELECT *, (at_ns - 1000000000) / 2000000000 AS bucket FROM sent
        UNION ALL
        SELECT *, (at_ns - 1000000000) / 2000000000 + 1 AS bucket FROM sent),
    silent AS (
        SELECT it.pair, it.`role`, it.machine, it.run, it.at_ns, asked.ends,
            SPLIT_INDEX(asked.ends, ' ', 0) AS client, SPLIT_INDEX(asked.ends, ' ', 2) AS broker,
            it.at_ns / 2000000000 AS bucket
        FROM kreset_answers AS it
        JOIN kreset_asked AS asked ON asked.pair = it.pair AND asked.`role` = it.`role`
        WHERE NOT it.has_reported AND NOT it.is_shared),
    -- The host sent such a RST at that time, to an end that no agent reports from, such as a
    -- proxy, or without a name to the address of this connection's other end, behind which a proxy
    -- may hide: it may be what a device between passed on.
    passed_on AS (
        SELECT it.pair, it.`role`
        FROM silent AS it JOIN sent_in AS sent
            ON sent.machine = it.machine AND sent.run = it.run AND sent.bucket = it.bucket
        WHERE ABS(sent.at_ns - it.at_ns) <= 1000000000
            AND (sent.ends = it.ends
                OR NOT CASE WHEN it.`role` = 'client' THEN sent.is_broker_known ELSE sent.is_client_known END
                OR NOT sent.is_named AND CASE WHEN it.`role` = 'client' THEN sent.broker = it.broker ELSE sent.client = it.client END)),
    -- The other host has these ends with other sequence numbers.
    other_flow AS (
        SELECT it.pair, it.`role`
        FROM (
            SELECT asked.pair, asked.`role`, asked.other AS here, asked.about_ns, theirs.machine AS there, theirs.at_ns
            FROM kreset_asked AS asked JOIN kreset_ends AS theirs
                ON theirs.ends = asked.ends AND theirs.`role` = asked.`role`
            WHERE NOT asked.has_reported AND theirs.flow_id <> '' AND theirs.flow_id <> asked.flow_id) AS it
        LEFT JOIN kreset_clocks AS clock
            ON clock.here = it.here AND clock.there = it.there
            AND it.about_ns >= clock.since_ns AND it.about_ns < clock.until_ns
        WHERE ABS(it.about_ns + COALESCE(clock.ahead_ns, 0) - it.at_ns) <= 1000000000)
SELECT pair, `role` FROM passed_on
UNION
SELECT pair, `role` FROM other_flow;

-- Whether the host at `role` of a pair was watching, and lost nothing: `is_whole`.
CREATE TEMPORARY VIEW kreset_watches AS
SELECT it.pair, it.`role`, it.machine, it.since_ns, it.vouched_ns, it.lacks, it.lacks = '' AND it.has_agent AS is_whole
FROM (
    SELECT
        asked.pair, asked.`role`, answers.pair IS NOT NULL AS has_agent,
        CASE WHEN answers.is_shared THEN '' ELSE COALESCE(answers.machine, '') END AS machine,
        COALESCE(answers.since_ns, 0) AS since_ns, COALESCE(answers.vouched_ns, 0) AS vouched_ns,
        COALESCE(answers.lacks, 'A')
            || CASE WHEN asked.is_ambiguous AND NOT asked.has_reported THEN 'K' ELSE '' END
            || CASE WHEN doubts.pair IS NOT NULL THEN 'I' ELSE '' END AS lacks
    FROM kreset_asked AS asked
    LEFT JOIN kreset_answers AS answers ON answers.pair = asked.pair AND answers.`role` = asked.`role`
    LEFT JOIN kreset_doubts AS doubts ON doubts.pair = asked.pair AND doubts.`role` = asked.`role`) AS it;

-- Of what a device may have done, the share of idle resets, as the host of an event weighs them.
CREATE TEMPORARY VIEW kreset_likely AS
SELECT id, idle / device AS idle_share
FROM (
    SELECT it.id,
        SUM(CASE WHEN likely.verdict = 'middlebox_idle_reset' THEN likely.share ELSE 0 END) AS idle,
        SUM(likely.share) AS device
    FROM kreset_events AS it CROSS JOIN UNNEST(it.candidates) AS likely (verdict, share)
    WHERE likely.verdict IN ('middlebox_idle_reset', 'middlebox_reset')
    GROUP BY it.id)
WHERE device > 0;

-- Everything that is known of a pair, in one row: `c_` is the client's host's event, `b_` the
-- broker's.
CREATE TEMPORARY VIEW kreset_known AS
SELECT
    it.pair,
    it.client_id <> '' AS has_c, it.broker_id <> '' AS has_b,
    COALESCE(c.machine, '') AS c_machine, c.host AS c_host, COALESCE(c.saw, '') AS c_saw, COALESCE(c.is_sent, FALSE) AS c_is_sent,
    COALESCE(c.at_ns, 0) AS c_at_ns,
    COALESCE(c.client, '') AS c_client, COALESCE(c.client_port, 0) AS c_client_port,
    COALESCE(c.broker, '') AS c_broker, COALESCE(c.broker_port, 0) AS c_broker_port,
    COALESCE(c.verdict, '') AS c_verdict, COALESCE(c.cause, '') AS c_cause, COALESCE(c.confidence, 0) AS c_confidence,
    COALESCE(c.kernel_reason, '') AS c_reason, COALESCE(c.flow_id, '') AS c_flow_id, COALESCE(c.community_id, '') AS c_community_id,
    COALESCE(c.provoked_by, '') AS c_provoked_by, c.`sequence` AS c_sequence, c.wire_idle_ms AS c_idle_ms, COALESCE(c.advice, '') AS c_advice,
    COALESCE(b.machine, '') AS b_machine, b.host AS b_host, COALESCE(b.saw, '') AS b_saw, COALESCE(b.is_sent, FALSE) AS b_is_sent,
    COALESCE(b.at_ns, 0) AS b_at_ns,
    COALESCE(b.client, '') AS b_client, COALESCE(b.client_port, 0) AS b_client_port,
    COALESCE(b.broker, '') AS b_broker, COALESCE(b.broker_port, 0) AS b_broker_port,
    COALESCE(b.verdict, '') AS b_verdict, COALESCE(b.cause, '') AS b_cause, COALESCE(b.confidence, 0) AS b_confidence,
    COALESCE(b.kernel_reason, '') AS b_reason, COALESCE(b.flow_id, '') AS b_flow_id, COALESCE(b.community_id, '') AS b_community_id,
    COALESCE(b.provoked_by, '') AS b_provoked_by, b.`sequence` AS b_sequence, b.wire_idle_ms AS b_idle_ms, COALESCE(b.advice, '') AS b_advice,
    cw.machine AS cw_machine, cw.lacks AS cw_lacks, cw.is_whole AS cw_is_whole, cw.since_ns AS cw_since_ns, cw.vouched_ns AS cw_vouched_ns,
    bw.machine AS bw_machine, bw.lacks AS bw_lacks, bw.is_whole AS bw_is_whole, bw.since_ns AS bw_since_ns, bw.vouched_ns AS bw_vouched_ns,
    CASE WHEN c.confidence >= 0.9 THEN GREATEST(c.confidence, 0.99) ELSE COALESCE(c.confidence, 0) END AS c_surely,
    CASE WHEN b.confidence >= 0.9 THEN GREATEST(b.confidence, 0.99) ELSE COALESCE(b.confidence, 0) END AS b_surely,
    -- The RST that one host sent may be the one that the other received. One that is ahead of what
    -- the receiver expects is questioned, and the answer has the number that was asked for.
    COALESCE(MOD(CASE WHEN c.is_sent THEN c.`sequence` - b.`sequence` ELSE b.`sequence` - c.`sequence` END
        + 4294967297, 4294967296) <= 2, TRUE)
    OR COALESCE(
        c.flow_id <> '' AND c.flow_id = b.flow_id
        AND MOD(CASE WHEN c.saw = 'sent' THEN c.`sequence` - b.`sequence` ELSE b.`sequence` - c.`sequence` END
            + 4294967296, 4294967296) BETWEEN 1 AND 1073725439
        AND CASE WHEN c.saw = 'sent' THEN b.at_ns - c.at_ns ELSE c.at_ns - b.at_ns END + COALESCE(clock.ahead_ns, 0)
            BETWEEN -50000000 AND 1000000000, FALSE) AS may_be_same,
    -- What each says who sent a RST. A host that never had the connection cannot say how long it
    -- was silent: the other one can.
    CASE
        WHEN COALESCE(c.cause, '') NOT IN ('moved', 'rebound') OR b.wire_idle_ms IS NULL THEN COALESCE(c.verdict, '') || '/' || COALESCE(c.cause, '')
        WHEN b.wire_idle_ms < 1000 THEN 'middlebox_reset/moved'
        ELSE 'middlebox_idle_reset/rebound'
    END AS c_said,
    CASE
        WHEN COALESCE(b.cause, '') NOT IN ('moved', 'rebound') OR c.wire_idle_ms IS NULL THEN COALESCE(b.verdict, '') || '/' || COALESCE(b.cause, '')
        WHEN c.wire_idle_ms < 1000 THEN 'middlebox_reset/moved'
        ELSE 'middlebox_idle_reset/rebound'
    END AS b_said,
    c_likely.idle_share AS c_idle_share,
    b_likely.idle_share AS b_idle_share
FROM kreset_pairs AS it
LEFT JOIN kreset_ends AS c ON c.id = it.client_id
LEFT JOIN kreset_ends AS b ON b.id = it.broker_id
LEFT JOIN kreset_likely AS c_likely ON c_likely.id = c.event
LEFT JOIN kreset_likely AS b_likely ON b_likely.id = b.event
LEFT JOIN kreset_clocks AS clock
    ON clock.here = CASE WHEN c.saw = 'sent' THEN b.machine ELSE c.machine END
    AND clock.there = CASE WHEN c.saw = 'sent' THEN c.machine ELSE b.machine END
    AND CASE WHEN c.saw = 'sent' THEN b.at_ns ELSE c.at_ns END >= clock.since_ns
    AND CASE WHEN c.saw = 'sent' THEN b.at_ns ELSE c.at_ns END < clock.until_ns
JOIN (SELECT * FROM kreset_watches WHERE `role` = 'client') AS cw ON cw.pair = it.pair
JOIN (SELECT * FROM kreset_watches WHERE `role` = 'broker') AS bw ON bw.pair = it.pair;

-- What follows: docs/two-hosts.md, "What follows". Which rule, and the host that it is about: the
-- one that sent the RST, or whose connection ended.
INSERT OVERWRITE kreset_ruled
SELECT
    pair, has_c, has_b, c_machine, c_host, c_saw, c_is_sent, c_at_ns, c_client, c_client_port,
    c_broker, c_broker_port, c_verdict, c_cause, c_confidence, c_reason, c_flow_id,
    c_community_id, c_provoked_by, c_sequence, c_idle_ms, c_advice, b_machine, b_host, b_saw,
    b_is_sent, b_at_ns, b_client, b_client_port, b_broker, b_broker_port, b_verdict, b_cause,
    b_confidence, b_reason, b_flow_id, b_community_id, b_provoked_by, b_sequence, b_idle_ms,
    b_advice, cw_machine, cw_lacks, cw_is_whole, cw_since_ns, cw_vouched_ns, bw_machine,
    bw_lacks, bw_is_whole, bw_since_ns, bw_vouched_ns, c_surely, b_surely, may_be_same, c_said,
    b_said, c_idle_share, b_idle_share,
    SPLIT_INDEX(applies, ' ', 0) AS rule, SPLIT_INDEX(applies, ' ', 1) AS subject
FROM (
    SELECT *,
        CASE
            WHEN c_saw = 'received' AND b_saw = 'sent' THEN CASE WHEN may_be_same THEN 'sender broker' ELSE 'another client' END
            WHEN c_saw = 'sent' AND b_saw = 'received' THEN CASE WHEN may_be_same THEN 'sender client' ELSE 'another broker' END
            WHEN c_saw = 'received' AND b_saw = 'received' THEN
                CASE WHEN c_provoked_by NOT IN ('data', 'keepalive') AND b_provoked_by IN ('data', 'keepalive')
                    THEN 'both_received broker' ELSE 'both_received client' END
            -- The RSTs that follow a reported close are not reported.
            WHEN c_saw = 'received' AND b_saw = 'closed' AND b_is_sent THEN 'sender broker'
            WHEN b_saw = 'received' AND c_saw = 'closed' AND c_is_sent THEN 'sender client'
            WHEN c_saw = 'received' THEN 'silent client'
            WHEN b_saw = 'received' THEN 'silent broker'
            WHEN c_saw = 'sent' AND b_saw = 'sent' THEN CASE WHEN c_surely > b_surely THEN 'both_sent client' ELSE 'both_sent broker' END
            WHEN b_saw = 'sent' THEN 'sender broker'
            WHEN c_saw = 'sent' THEN 'sender client'
            WHEN c_saw = 'timeout' THEN 'dropped client'
            WHEN b_saw = 'timeout' THEN 'dropped broker'
            WHEN c_saw = 'closed' AND b_saw = 'closed' AND c_is_sent THEN 'sender client'
            WHEN c_saw = 'closed' AND b_saw = 'closed' AND b_is_sent THEN 'sender broker'
            WHEN c_saw <> '' THEN 'alone client'
            ELSE 'alone broker'
        END AS applies
    FROM kreset_known);

-- What is missing for a proof, and what one host alone said where anything is.
INSERT OVERWRITE kreset_weighed
SELECT
    pair, rule, subject, has_c AND has_b AS has_both,
    CASE WHEN subject = 'client' THEN c_saw ELSE b_saw END AS it_saw,
    CASE WHEN subject = 'client' THEN c_verdict ELSE b_verdict END AS it_verdict,
    CASE WHEN subject = 'client' THEN c_cause ELSE b_cause END AS it_cause,
    CASE WHEN subject = 'client' THEN c_said ELSE b_said END AS it_said,
    CASE WHEN subject = 'client' THEN c_confidence ELSE b_confidence END AS it_confidence,
    CASE WHEN subject = 'client' THEN c_provoked_by ELSE b_provoked_by END AS it_provoked_by,
    -- Whether a device's idle timer ran out: what that host held likelier, or by the silence if it
    -- held neither possible. A silence of a second may have outlived one.
    CASE
        WHEN COALESCE(CASE WHEN subject = 'client' THEN c_idle_ms ELSE b_idle_ms END, 0) < 1000 THEN 0
        ELSE COALESCE(CASE WHEN subject = 'client' THEN c_idle_share ELSE b_idle_share END, 1)
    END AS idle,
    CASE
        WHEN rule = 'another' THEN 'J'
        WHEN rule IN ('silent', 'dropped') AND subject = 'client' THEN bw_lacks
        WHEN rule IN ('silent', 'dropped') THEN cw_lacks
        WHEN rule = 'both_received' THEN cw_lacks || REGEXP_REPLACE(bw_lacks, '[' || cw_lacks || ' ]', '')
        ELSE ''
    END AS lacks,
    CASE
        WHEN rule = 'silent' AND subject = 'client' THEN bw_is_whole
        WHEN rule = 'silent' THEN cw_is_whole
        WHEN rule = 'dropped' AND subject = 'client' THEN bw_is_whole AND c_verdict = 'middlebox_idle_drop'
        WHEN rule = 'dropped' THEN cw_is_whole AND b_verdict = 'middlebox_idle_drop'
        WHEN rule = 'both_received' THEN cw_is_whole AND bw_is_whole
        WHEN rule = 'both_sent' THEN c_said = b_said
        ELSE rule = 'sender'
    END AS is_proven
FROM kreset_ruled;

CREATE TEMPORARY VIEW kreset_conclusions AS
SELECT
    pair, lacks,
    CASE
        WHEN is_conflict THEN 'indeterminate'
        WHEN is_renamed AND idle >= 0.5 THEN 'middlebox_idle_reset'
        WHEN is_renamed THEN 'middlebox_reset'
        WHEN rule IN ('sender', 'both_sent') THEN SPLIT_INDEX(it_said, '/', 0)
        ELSE it_verdict
    END AS verdict,
    CASE
        WHEN is_conflict THEN ''
        WHEN is_renamed AND idle >= 0.5 AND it_provoked_by = 'nothing' THEN 'reset_on_timer'
        WHEN is_renamed AND idle >= 0.5 THEN 'reset_on_send'
        WHEN is_renamed THEN 'not_idle'
        WHEN rule IN ('sender', 'both_sent') THEN COALESCE(SPLIT_INDEX(it_said, '/', 1), '')
        ELSE it_cause
    END AS cause,
    CASE
        WHEN is_conflict THEN LEAST(it_confidence, 0.5)
        WHEN is_renamed AND GREATEST(idle, 1 - idle) >= 0.95 THEN 0.99
        WHEN is_renamed THEN LEAST(GREATEST(idle, 1 - idle), 0.89)
        WHEN is_device OR rule = 'dropped' AND is_proven THEN GREATEST(it_confidence, 0.99)
        WHEN is_proven AND has_both AND it_confidence >= 0.9 THEN GREATEST(it_confidence, 0.99)
        ELSE it_confidence
    END AS confidence,
    CASE
        WHEN NOT is_proven THEN 'one_host'
        WHEN rule = 'both_received' THEN 'both_received'
        WHEN rule IN ('silent', 'dropped') THEN 'nobody_sent'
        ELSE 'sender_seen'
    END AS proof,
    CASE WHEN is_conflict THEN 'both hosts sent a RST, and each names another cause' ELSE '' END AS conflict,
    CASE
        WHEN is_conflict THEN 'unknown'
        WHEN is_device THEN 'device'
        WHEN rule = 'dropped' AND is_proven THEN ''
        WHEN is_proven THEN subject
        -- As far as that host alone can say.
        WHEN it_saw = 'timeout' THEN ''
        WHEN it_saw = 'sent' THEN subject
        WHEN it_verdict IN ('middlebox_idle_reset', 'middlebox_reset') THEN 'device'
        WHEN it_verdict = 'broker_originated' THEN 'broker'
        WHEN it_verdict = 'client_originated' THEN 'client'
        ELSE 'unknown'
    END AS sent_by,
    -- The end whose event the finding reports is the client's.
    CASE
        WHEN rule IN ('sender', 'both_sent') AND has_both THEN subject = 'broker'
        ELSE subject = 'client'
    END AS is_of_client
FROM (
    SELECT *,
        is_proven AND rule IN ('silent', 'both_received') AS is_device,
        -- A device that refuses a connection refuses it all the same.
        is_proven AND rule IN ('silent', 'both_received')
            AND NOT (it_verdict IN ('middlebox_idle_reset', 'middlebox_reset') OR it_cause = 'refused') AS is_renamed,
        rule = 'both_sent' AND NOT is_proven AS is_conflict
    FROM kreset_weighed);

-- The events of each pair, and the surest way in which one says that it is of `kreset-trace
-- probe`: by its process, by its segment size, or by the probe's own list, from 5 s before to 5 s
-- after.
CREATE TEMPORARY VIEW kreset_grouped AS
SELECT
    it.pair,
    MIN(it.at_ns) AS first_ns,
    MIN(CASE
        WHEN it.kreset_probe = 'process' THEN '1process'
        WHEN it.kreset_probe = 'mss' THEN '2mss'
        WHEN it.kreset_probe = 'listed' OR listed.id IS NOT NULL THEN '3listed'
        ELSE '4'
    END) AS kreset_probe,
    SHA1(ARRAY_JOIN(ARRAY_SORT(ARRAY_DISTINCT(ARRAY_AGG(it.event))), U&'\0000') || U&'\0000') AS digest,
    -- The client's first, each in the order of time: sorted by what is then taken away.
    REGEXP_REPLACE(
        ARRAY_JOIN(ARRAY_SORT(ARRAY_AGG(
            CASE WHEN it.`role` = 'client' THEN '0' ELSE '1' END || LPAD(CAST(it.at_ns AS STRING), 19, '0')
            || REPLACE(it.origin, ' ', '.') || ' ' || it.event)), ','),
        '[^ ,]+ ', '') AS event_ids
FROM kreset_paired AS it
LEFT JOIN (
    SELECT DISTINCT near.id
    FROM (
        SELECT it.id, it.machine AS here, probe.machine AS there, it.at_ns AS about_ns,
            UNIX_TIMESTAMP(SUBSTRING(listed.opened, 1, 19), 'yyyy-MM-dd''T''HH:mm:ss') * 1000000000
                + CAST(RPAD(COALESCE(NULLIF(REGEXP_EXTRACT(listed.opened, '[.](\d+)', 1), ''), '0'), 9, '0') AS BIGINT) AS opened_ns,
            UNIX_TIMESTAMP(SUBSTRING(listed.ended, 1, 19), 'yyyy-MM-dd''T''HH:mm:ss') * 1000000000
                + CAST(RPAD(COALESCE(NULLIF(REGEXP_EXTRACT(listed.ended, '[.](\d+)', 1), ''), '0'), 9, '0') AS BIGINT) AS ended_ns
        FROM kreset_events AS probe CROSS JOIN UNNEST(probe.listed) AS listed (client, opened, ended)
        JOIN kreset_ends AS it ON it.client = listed.client.address AND it.client_port = listed.client.port
            AND it.broker = probe.broker AND it.broker_port = probe.broker_port
        WHERE probe.kind = 'probe') AS near
    LEFT JOIN kreset_clocks AS clock
        ON clock.here = near.here AND clock.there = near.there
        AND near.about_ns >= clock.since_ns AND near.about_ns < clock.until_ns
    WHERE near.about_ns + COALESCE(clock.ahead_ns, 0) BETWEEN near.opened_ns - 5000000000 AND near.ended_ns + 5000000000
) AS listed ON listed.id = it.id
GROUP BY it.pair;

INSERT INTO kreset_findings
SELECT
    it.of_ns AS at_ns,
    -- The same for the same events, as `correlate` makes it.
    'pair-' || SUBSTRING(grouped.digest, 1, 16) AS id,
    CASE WHEN it.is_of_client THEN it.c_host ELSE it.b_host END AS host,
    CASE WHEN it.is_of_client THEN it.c_community_id ELSE it.b_community_id END AS community_id,
    COALESCE(NULLIF(CASE WHEN it.is_of_client THEN it.c_flow_id ELSE it.b_flow_id END, ''), NULLIF(it.c_flow_id, ''), it.b_flow_id) AS flow_id,
    it.sent_by,
    SUBSTRING(grouped.kreset_probe, 2) AS kreset_probe,
    it.verdict, it.cause, it.confidence, it.proof,
    ARRAY_REMOVE(SPLIT(
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
            CASE WHEN it.proof = 'one_host' THEN it.lacks ELSE '' END,
            'A', 'no_agent,'), 'B', 'not_attached_yet,'), 'C', 'ended,'), 'D', 'lost,'), 'E', 'unshown,'), 'F', 'degraded,'),
            'G', 'port,'), 'H', 'address,'), 'I', 'connection_unknown,'), 'J', 'another_reset,'), 'K', 'ambiguous,'),
        ','), '') AS missing,
    it.conflict,
    CASE WHEN it.is_of_client THEN ROW(it.c_client, it.c_client_port) ELSE ROW(it.b_client, it.b_client_port) END AS client,
    CASE WHEN it.is_of_client THEN ROW(it.c_broker, it.c_broker_port) ELSE ROW(it.b_broker, it.b_broker_port) END AS broker,
    ROW(
        CASE WHEN it.has_c THEN it.c_host WHEN it.cw_is_whole THEN SPLIT_INDEX(it.cw_machine, ' ', 1) ELSE '' END,
        CASE WHEN it.has_c THEN it.c_saw WHEN it.cw_is_whole THEN 'nothing' ELSE '' END,
        it.c_at_ns, ROW(it.c_client, it.c_client_port), ROW(it.c_broker, it.c_broker_port),
        it.c_verdict, it.c_cause, it.c_confidence, it.c_reason,
        CASE WHEN it.cw_is_whole THEN it.cw_since_ns ELSE 0 END, CASE WHEN it.cw_is_whole THEN it.cw_vouched_ns ELSE 0 END) AS client_host,
    ROW(
        CASE WHEN it.has_b THEN it.b_host WHEN it.bw_is_whole THEN SPLIT_INDEX(it.bw_machine, ' ', 1) ELSE '' END,
        CASE WHEN it.has_b THEN it.b_saw WHEN it.bw_is_whole THEN 'nothing' ELSE '' END,
        it.b_at_ns, ROW(it.b_client, it.b_client_port), ROW(it.b_broker, it.b_broker_port),
        it.b_verdict, it.b_cause, it.b_confidence, it.b_reason,
        CASE WHEN it.bw_is_whole THEN it.bw_since_ns ELSE 0 END, CASE WHEN it.bw_is_whole THEN it.bw_vouched_ns ELSE 0 END) AS broker_host,
    CASE
        WHEN it.here = '' OR it.there = '' THEN NULL
        WHEN it.here = it.there THEN 0
        ELSE CAST(clock.ahead_ns AS DOUBLE) / 1000000
    END AS skew_ms,
    CASE WHEN it.is_of_client THEN it.c_idle_ms ELSE it.b_idle_ms END AS wire_idle_ms,
    -- An event of both ends is there twice.
    ARRAY_DISTINCT(SPLIT(grouped.event_ids, ',')) AS event_ids,
    -- That of the host whose verdict it is, where one named it.
    CASE
        WHEN it.has_c AND it.c_verdict = it.verdict AND it.c_cause = it.cause THEN it.c_advice
        WHEN it.has_b AND it.b_verdict = it.verdict AND it.b_cause = it.cause THEN it.b_advice
        WHEN it.conflict <> '' THEN 'Compare packet captures of both hosts.'
        WHEN it.sent_by = 'device' THEN 'Take this to whoever runs the network between the two hosts: something between them made the RST.'
        ELSE ''
    END AS advice
FROM (
    SELECT known.*, said.lacks, said.verdict, said.cause, said.confidence, said.proof, said.conflict, said.sent_by, said.is_of_client,
        CASE WHEN said.is_of_client THEN known.c_at_ns ELSE known.b_at_ns END AS of_ns,
        CASE WHEN known.has_c THEN known.c_machine ELSE known.cw_machine END AS here,
        CASE WHEN known.has_b THEN known.b_machine ELSE known.bw_machine END AS there
    FROM kreset_ruled AS known JOIN kreset_conclusions AS said ON said.pair = known.pair) AS it
JOIN kreset_grouped AS grouped ON grouped.pair = it.pair
JOIN kreset_scope AS judged ON grouped.first_ns >= judged.judge_from_ns AND grouped.first_ns < judged.judge_until_ns
LEFT JOIN kreset_clocks AS clock
    ON clock.here = it.here AND clock.there = it.there AND it.of_ns >= clock.since_ns AND it.of_ns < clock.until_ns;

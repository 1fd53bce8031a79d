-- A correction of an event that no identity tells of any more, and `chargeline explain`, look for its rows by event_id;
-- what cancelled or amended it names it in amends_event_id. Without an index each look-up read both columns of the whole
-- partition. A bloom filter is 1.2 bytes a row, made by merges; blocks that were not merged yet are read whole.

ALTER TABLE charges ADD INDEX IF NOT EXISTS event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE charges ADD INDEX IF NOT EXISTS amends_event_id amends_event_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE charges MATERIALIZE INDEX event_id;

ALTER TABLE charges MATERIALIZE INDEX amends_event_id;

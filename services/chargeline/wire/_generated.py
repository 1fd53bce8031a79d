"""Made by `make schemas` from schemas/; do not edit."""

from decimal import Decimal
from typing import Any, Final, TypedDict

ANOMALY_NOTE_SCHEMA: Final = '{"type": "record", "name": "AnomalyNote", "namespace": "chargeline.events", "doc": "What a person said of anomalies: a mute of a scope, or a label of an incident. The newest record of a key counts.", "fields": [{"name": "note_id", "type": "string", "doc": "Key of the record: mute/NAME or label/ANOMALY_ID."}, {"name": "kind", "type": {"type": "enum", "name": "NoteKind", "symbols": ["UNKNOWN", "MUTE", "LABEL"], "default": "UNKNOWN"}, "doc": "Which of the two."}, {"name": "author", "type": "string", "doc": "Who said it."}, {"name": "reason", "type": "string", "doc": "Why."}, {"name": "anomaly_id", "type": ["null", "string"], "default": null, "doc": "LABEL: of this incident. MUTE: of this one only."}, {"name": "label", "type": ["null", {"type": "enum", "name": "AnomalyLabel", "symbols": ["UNKNOWN", "TRUE_POSITIVE", "FALSE_POSITIVE", "EXPECTED"], "default": "UNKNOWN"}], "default": null, "doc": "LABEL: what it was."}, {"name": "billing_account_id", "type": ["null", "string"], "default": null, "doc": "MUTE: of this account; null: of all."}, {"name": "dimensions", "type": {"type": "map", "values": "string"}, "doc": "MUTE: of incidents whose scope has these values."}, {"name": "anomaly_kind", "type": ["null", "string"], "default": null, "doc": "MUTE: of this kind; null: of all."}, {"name": "from_time", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "MUTE: from here on, inclusive, by the incident\'s window_start."}, {"name": "until_time", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "MUTE: to here, exclusive."}]}'
CHARGE_SCHEMA: Final = '{"type": "record", "name": "Charge", "namespace": "chargeline.events", "doc": "One accepted usage event with its price and every input of the price. Quantities are as the event gave them, before the conversion to leaves and before sample_weight.", "fields": [{"name": "source_partition", "type": "int", "doc": "Partition of usage-events: first part of the coordinate."}, {"name": "source_offset", "type": "long", "doc": "Offset in usage-events: second part of the coordinate."}, {"name": "source_index", "type": "int", "doc": "Index within the record, 0 in version 1: third part of the coordinate.", "left_out": 0}, {"name": "append_time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "UTC instant at which Kafka appended the usage record."}, {"name": "identity_hash", "type": {"type": "fixed", "name": "IdentityHash", "size": 12}, "doc": "First 12 bytes of murmur3_x64_128 of the identity, see docs/state.md."}, {"name": "content_hash", "type": {"type": "fixed", "name": "ContentHash", "size": 4}, "doc": "The hash of the event\'s canonical bytes that docs/state.md defines, big-endian."}, {"name": "outcome", "type": {"type": "enum", "name": "Outcome", "symbols": ["UNKNOWN", "CHARGED", "UNRATED"], "default": "UNKNOWN"}, "doc": "CHARGED: priced, costs not null. UNRATED: no price found, costs null.", "left_out": "CHARGED"}, {"name": "reason", "type": ["null", "string"], "default": null, "doc": "Why the event is UNRATED (spec/rating.md 14); null: CHARGED.", "arrow": "dictionary"}, {"name": "match_kind", "type": {"type": "enum", "name": "MatchKind", "symbols": ["UNKNOWN", "NONE", "EXACT", "ALIAS", "PREFIX"], "default": "UNKNOWN"}, "doc": "How the model was found on the rate cards; NONE: not found or nothing to price.", "left_out": "EXACT"}, {"name": "window_start", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC start of the event\'s tumbling window, by event_time."}, {"name": "billing_period_start", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC start of the billing period, inclusive."}, {"name": "billing_period_end", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC end of the billing period, exclusive."}, {"name": "charge_category", "type": {"type": "enum", "name": "ChargeCategory", "symbols": ["UNKNOWN", "USAGE", "PURCHASE", "CREDIT", "ADJUSTMENT"], "default": "UNKNOWN"}, "doc": "FOCUS ChargeCategory.", "left_out": "USAGE"}, {"name": "charge_class", "type": ["null", "string"], "default": null, "doc": "CORRECTION for an entry about a closed period; null otherwise.", "arrow": "dictionary"}, {"name": "billing_currency", "type": ["null", "string"], "default": null, "doc": "Currency of the costs; null: nothing was priced.", "arrow": "dictionary"}, {"name": "list_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "Sum of the entries\' list_cost; null: UNRATED.", "left_out": {"same_as": "contracted_cost"}}, {"name": "contracted_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "Sum of the entries\' contracted_cost; null: UNRATED."}, {"name": "effective_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "contracted_cost with commitments spread; equals it here; null: UNRATED.", "left_out": {"same_as": "contracted_cost"}}, {"name": "billed_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "What the invoice asks for; equals contracted_cost until the period closes; null: UNRATED.", "left_out": {"same_as": "contracted_cost"}}, {"name": "estimated", "type": "boolean", "doc": "The costs are estimates: the event is sampled and stands for others.", "left_out": false}, {"name": "cost_variance", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 24}], "default": null, "doc": "Variance of the estimated cost of a sampled event, in the square of billing_currency (spec/rating.md 11), at most 10^14; null: not sampled."}, {"name": "governance_sequence", "type": "long", "doc": "Sequence number of the newest governance fact visible to the event; -1: none."}, {"name": "entries", "type": {"type": "array", "items": {"type": "record", "name": "ChargeEntry", "doc": "One component of a charge at the finest grain (spec/rating.md 1).", "fields": [{"name": "entry_kind", "type": {"type": "enum", "name": "EntryKind", "symbols": ["UNKNOWN", "UNIT", "FREE_UNITS", "TIER_FLAT", "PER_EVENT_FEE", "STANDING_FEE", "DISCOUNT", "CAP", "TRUE_UP", "TIER_SETTLEMENT", "TIER_SHIFT", "OVERAGE", "COVER", "CREDIT", "FORFEIT", "REVERSAL", "ROUNDING", "IDLE", "ALLOCATION"], "default": "UNKNOWN"}, "doc": "Which rule made the entry (spec/rating.md 1).", "left_out": "UNIT"}, {"name": "sku_id", "type": "string", "doc": "The thing sold.", "arrow": "dictionary"}, {"name": "sku_price_id", "type": ["null", "string"], "doc": "Price point of the SKU: sku_id[/variant]/tier, 0 for free units; null: the entry has none (DISCOUNT, CAP …).", "arrow": "dictionary", "default": null}, {"name": "rate_card_id", "type": "string", "doc": "Rate card that priced it.", "arrow": "dictionary"}, {"name": "rate_card_version", "type": "int", "doc": "Version of that card."}, {"name": "leaf", "type": "string", "doc": "Token leaf or quantity that was priced.", "arrow": "dictionary"}, {"name": "consumed_quantity", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "What was measured, in consumed_unit; times sample_weight."}, {"name": "consumed_unit", "type": "string", "doc": "Unit of consumed_quantity, FOCUS unit format.", "arrow": "dictionary"}, {"name": "pricing_quantity", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "doc": "consumed_quantity in pricing_unit, packages or blocks, rounded to 12 decimals; null: as pricing_unit.", "default": null}, {"name": "pricing_unit", "type": ["null", "string"], "doc": "What the price is for, FOCUS unit format; Fees for flat fees; null: no price point.", "arrow": "dictionary", "default": null}, {"name": "list_unit_price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}], "doc": "First-tier price of one pricing_unit by the default rate, with modifiers, in the pricing currency; the contracted one where there is no default rate; null: no price point.", "left_out": {"same_as": "contracted_unit_price"}, "default": null}, {"name": "contracted_unit_price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}], "doc": "Price of one pricing_unit that holds for the account, in the pricing currency, also where it is waived; null: no price point.", "default": null}, {"name": "list_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "list_unit_price x quantity in billing_currency, rounded once in the pricing currency and once more where it is converted.", "left_out": {"same_as": "contracted_cost"}}, {"name": "contracted_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "contracted_unit_price x quantity in billing_currency, rounded likewise; 0 where it is waived."}, {"name": "charge_category", "type": "ChargeCategory", "doc": "FOCUS ChargeCategory of the entry.", "left_out": "USAGE"}, {"name": "charge_class", "type": ["null", "string"], "default": null, "doc": "CORRECTION for an entry about a closed period; null otherwise.", "arrow": "dictionary"}, {"name": "charge_period_start", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "UTC start of the part of an interval event that the entry is for; null: event_time."}, {"name": "billing_period_start", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "UTC start of the billing period of that part; null: that of the row."}, {"name": "billing_period_end", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "UTC end of it, exclusive; null: that of the row."}, {"name": "pricing_currency", "type": ["null", "string"], "default": null, "doc": "Currency of the rate card where it was converted; null: billing_currency.", "arrow": "dictionary"}, {"name": "pricing_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "contracted_cost (or waived_cost) before conversion, in pricing_currency; null: nothing was converted."}, {"name": "fx_rate", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}], "default": null, "doc": "Units of billing_currency for one of pricing_currency; null: nothing was converted."}, {"name": "fx_rate_id", "type": ["null", "string"], "default": null, "doc": "Which exchange rate: FROM/TO/date/source, or FROM/TO/fixed; null: nothing was converted.", "arrow": "dictionary"}, {"name": "waived_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "What the account need not pay (status policy bill_zero), in billing_currency: the platform\'s own account bears it; null: nothing."}, {"name": "pool", "type": ["null", "string"], "default": null, "doc": "Pool that shares the entry at close (status policy amortise); null: none.", "arrow": "dictionary"}, {"name": "scope_key", "type": ["null", {"type": "fixed", "name": "ScopeKey", "size": 16}], "default": null, "doc": "Scope of an accumulating rate that the entry moves, see docs/state.md; null: none."}, {"name": "scope_quantity", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}], "default": null, "doc": "Base units that the event moves the scope by, on the first entry of a leaf in it; null: not on this entry."}, {"name": "scope_amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "What it moves the running amount of the scope by, likewise; null: nothing."}, {"name": "scope_count", "type": ["null", "long"], "default": null, "doc": "Transactions that it adds to the scope (percentage), likewise; null: none."}, {"name": "effective_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "contracted_cost with commitments and prepayments spread over the usage that used them, in billing_currency.", "left_out": {"same_as": "contracted_cost"}}, {"name": "billed_cost", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}], "default": null, "doc": "What the invoice asks for, in billing_currency; another amount than contracted_cost only in entries of a close.", "left_out": {"same_as": "contracted_cost"}}, {"name": "event_id", "type": ["null", "string"], "default": null, "doc": "The event whose charge an entry of a close covers, credits or raises; null: the row\'s own event, or none."}]}}, "doc": "Components of the charge in the order of spec/rating.md 6; empty: UNRATED or nothing to price."}, {"name": "rule_id", "type": ["null", "string"], "default": null, "arrow": "dictionary", "doc": "What a row of a close is due to, where it is no rate: subscription:, commitment: or grant: and its id, or minimum; null otherwise."}, {"name": "carried", "type": ["null", "string"], "default": null, "doc": "What a close hands to the next close of the account, JSON (docs/state.md); null: nothing, or no close."}, {"name": "event_id", "type": "string", "doc": "Identity of the event within (billing_account_id, source); stable over retries. Not empty."}, {"name": "source", "type": "string", "doc": "The producer, e.g. a gateway or a replayed file. Not empty.", "arrow": "dictionary"}, {"name": "billing_account_id", "type": "string", "doc": "Who receives the invoice; also the Kafka key. Not empty.", "arrow": "dictionary"}, {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC instant at which a point event happened; for an interval event its start."}, {"name": "provider_name", "type": "string", "doc": "OpenTelemetry gen_ai.provider.name, or the house name of a shared service. Not empty.", "arrow": "dictionary"}, {"name": "request_model", "type": "string", "doc": "The model asked for; for usage without a model the resource class. Not empty.", "arrow": "dictionary"}, {"name": "operation_name", "type": "string", "doc": "OpenTelemetry gen_ai.operation.name, e.g. chat, embeddings, training. Not empty.", "arrow": "dictionary"}, {"name": "event_kind", "type": {"type": "enum", "name": "EventKind", "symbols": ["UNKNOWN", "USAGE", "AMEND", "CANCEL", "RERATE", "PERIOD_CLOSE"], "default": "UNKNOWN"}, "doc": "What the record means; RERATE and PERIOD_CLOSE are control records.", "left_out": "USAGE"}, {"name": "charge_period_end", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "UTC, open end of an interval event, later than event_time; null: a point event."}, {"name": "sub_account_id", "type": ["null", "string"], "default": null, "doc": "Part of the billing account; null: none.", "arrow": "dictionary"}, {"name": "team", "type": ["null", "string"], "default": null, "doc": "Owning team; null: not said.", "arrow": "dictionary"}, {"name": "project", "type": ["null", "string"], "default": null, "doc": "Owning project; null: not said.", "arrow": "dictionary"}, {"name": "environment", "type": ["null", "string"], "default": null, "doc": "e.g. production, staging; null: not said.", "arrow": "dictionary"}, {"name": "cost_center", "type": ["null", "string"], "default": null, "doc": "Finance\'s cost center; null: not said.", "arrow": "dictionary"}, {"name": "initiative", "type": ["null", "string"], "default": null, "doc": "Business initiative; null: not said.", "arrow": "dictionary"}, {"name": "experiment_id", "type": ["null", "string"], "default": null, "doc": "Experiment the usage belongs to; null: none.", "arrow": "dictionary"}, {"name": "feature", "type": ["null", "string"], "default": null, "doc": "Product feature that caused the usage; null: not said.", "arrow": "dictionary"}, {"name": "customer_id", "type": ["null", "string"], "default": null, "doc": "The user\'s own customer, opaque; null: not said."}, {"name": "user_intent", "type": ["null", "string"], "default": null, "doc": "Why the call was made, a class and not text; null: not said.", "arrow": "dictionary"}, {"name": "principal_id", "type": ["null", "string"], "default": null, "doc": "Opaque id of the caller, no mail address; null: not said."}, {"name": "credential_id", "type": ["null", "string"], "default": null, "doc": "Opaque id of the key used; null: not said."}, {"name": "service_name", "type": ["null", "string"], "default": null, "doc": "Calling service; null: not said.", "arrow": "dictionary"}, {"name": "resource_id", "type": ["null", "string"], "default": null, "doc": "Endpoint, job or machine used; null: not said.", "arrow": "dictionary"}, {"name": "commitment_id", "type": ["null", "string"], "default": null, "doc": "Reservation or commitment named by the request; null: none.", "arrow": "dictionary"}, {"name": "deployment", "type": ["null", "string"], "default": null, "doc": "Model deployment; null: not said.", "arrow": "dictionary"}, {"name": "model_version", "type": ["null", "string"], "default": null, "doc": "Version of the model; null: not said.", "arrow": "dictionary"}, {"name": "response_model", "type": ["null", "string"], "default": null, "doc": "Model that answered; null: the requested one.", "arrow": "dictionary"}, {"name": "region", "type": ["null", "string"], "default": null, "doc": "Region that served; null: global or unknown.", "arrow": "dictionary"}, {"name": "accelerator", "type": ["null", "string"], "default": null, "doc": "Accelerator class, e.g. h100; null: none.", "arrow": "dictionary"}, {"name": "service_tier", "type": ["null", "string"], "default": null, "doc": "Tier the provider says it served: standard, batch, flex, priority; null: not said.", "arrow": "dictionary"}, {"name": "accuracy_class", "type": ["null", "string"], "default": null, "doc": "Accuracy class asked for; null: not said.", "arrow": "dictionary"}, {"name": "latency_class", "type": ["null", "string"], "default": null, "doc": "Latency class asked for; null: not said.", "arrow": "dictionary"}, {"name": "criticality", "type": ["null", "string"], "default": null, "doc": "Criticality of the workload; null: not said.", "arrow": "dictionary"}, {"name": "run_id", "type": ["null", "string"], "default": null, "doc": "Run or job id; null: none."}, {"name": "request_id", "type": ["null", "string"], "default": null, "doc": "Provider\'s request id; null: none."}, {"name": "trace_id", "type": ["null", "string"], "default": null, "doc": "W3C trace id; null: none."}, {"name": "error_type", "type": ["null", "string"], "default": null, "doc": "OpenTelemetry error.type; null: no error.", "arrow": "dictionary"}, {"name": "amends_event_id", "type": ["null", "string"], "default": null, "doc": "event_id of the event that this one amends, cancels or re-rates; null: none."}, {"name": "reported_cost_currency", "type": ["null", "string"], "default": null, "doc": "Currency of reported_cost_picos; null: the rate\'s currency.", "arrow": "dictionary"}, {"name": "input_tokens", "type": "long", "doc": "Tokens: prompt text read without a cache (INCLUSIVE: all prompt tokens).", "left_out": 0}, {"name": "cache_read_input_tokens", "type": "long", "doc": "Tokens read from a cache.", "left_out": 0}, {"name": "cache_write_input_tokens", "type": "long", "doc": "Tokens written to a cache for 5 minutes or an unnamed time.", "left_out": 0}, {"name": "cache_write_1h_input_tokens", "type": "long", "doc": "Tokens written to a cache for an hour.", "left_out": 0}, {"name": "output_tokens", "type": "long", "doc": "Tokens of the answer (INCLUSIVE: all generated tokens).", "left_out": 0}, {"name": "reasoning_output_tokens", "type": "long", "doc": "Tokens of reasoning.", "left_out": 0}, {"name": "input_audio_tokens", "type": "long", "doc": "Audio prompt tokens.", "left_out": 0}, {"name": "output_audio_tokens", "type": "long", "doc": "Audio answer tokens.", "left_out": 0}, {"name": "cache_read_audio_tokens", "type": "long", "doc": "Cached audio prompt tokens.", "left_out": 0}, {"name": "input_image_tokens", "type": "long", "doc": "Image prompt tokens.", "left_out": 0}, {"name": "output_image_tokens", "type": "long", "doc": "Image answer tokens.", "left_out": 0}, {"name": "requests", "type": "long", "doc": "Requests that this event stands for.", "left_out": 1}, {"name": "gpu_ms", "type": "long", "doc": "Devices x milliseconds of accelerators held.", "left_out": 0}, {"name": "cpu_ms", "type": "long", "doc": "Cores x milliseconds held.", "left_out": 0}, {"name": "memory_mib_s", "type": "long", "doc": "MiB x seconds of memory held.", "left_out": 0}, {"name": "storage_mib_s", "type": "long", "doc": "MiB x seconds of storage held.", "left_out": 0}, {"name": "io_bytes", "type": "long", "doc": "Bytes read and written.", "left_out": 0}, {"name": "extra_quantities", "type": {"type": "map", "values": "long"}, "doc": "Other quantities by name, in millionths of the unit (spec/rating.md 6).", "left_out": {}}, {"name": "token_convention", "type": {"type": "enum", "name": "TokenConvention", "symbols": ["UNKNOWN", "DISJOINT", "INCLUSIVE"], "default": "UNKNOWN"}, "doc": "Whether the token counts are disjoint leaves or include their parts.", "left_out": "DISJOINT"}, {"name": "quantity_source", "type": {"type": "enum", "name": "QuantitySource", "symbols": ["UNKNOWN", "MEASURED", "ESTIMATED"], "default": "UNKNOWN"}, "doc": "How the quantities are known.", "left_out": "MEASURED"}, {"name": "sample_weight", "type": "long", "doc": "This event stands for so many of its kind; >= 1.", "left_out": 1}, {"name": "reported_cost_picos", "type": ["null", "long"], "default": null, "doc": "Cost that the provider reported, in 1e-12 of the currency; null: none reported."}, {"name": "duration_ms", "type": ["null", "long"], "default": null, "doc": "Milliseconds from request to last byte; null: not measured."}, {"name": "time_to_first_token_ms", "type": ["null", "long"], "default": null, "doc": "Milliseconds from request to first token; null: not measured."}, {"name": "attempt", "type": ["null", "long"], "default": null, "doc": "Number of this attempt, from 1; null: not said."}, {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["UNKNOWN", "OK", "ERROR", "CANCELLED", "PARTIAL"], "default": "UNKNOWN"}, "doc": "OK, ERROR (no usable answer), CANCELLED (by the caller) or PARTIAL.", "left_out": "OK"}, {"name": "quality_score", "type": ["null", "double"], "default": null, "doc": "Score of the answer\'s quality, finite; null: not judged. Never used for money."}, {"name": "tuning", "type": {"type": "map", "values": "string"}, "doc": "Parameters of the call, e.g. temperature.", "left_out": {}}, {"name": "labels", "type": {"type": "map", "values": "string"}, "doc": "Free labels of the owner.", "left_out": {}}]}'
COST_ANOMALY_SCHEMA: Final = '{"type": "record", "name": "CostAnomaly", "namespace": "chargeline.events", "doc": "One update of an incident, complete in itself. (anomaly_id, sequence) names it for ever: a repeated record is the same one.", "fields": [{"name": "anomaly_id", "type": "string", "doc": "Hex name of the incident; follows from its kind, scope and first window."}, {"name": "sequence", "type": "long", "doc": "Number of the update, from 1."}, {"name": "status", "type": {"type": "enum", "name": "AnomalyStatus", "symbols": ["UNKNOWN", "OPEN", "RESOLVED"], "default": "UNKNOWN"}, "doc": "OPEN while it lasts; RESOLVED once it was calm for three windows."}, {"name": "kind", "type": {"type": "enum", "name": "AnomalyKind", "symbols": ["UNKNOWN", "SPEND", "NEW_SPEND", "SPEND_DROP", "RUNAWAY", "REQUEST_COST", "TOKEN_COST", "ERROR_COST", "CACHE_COLLAPSE", "RETRY_STORM", "UNRATED", "DEAD_LETTERS", "BUDGET_BURN"], "default": "UNKNOWN"}, "doc": "What was seen first."}, {"name": "kinds", "type": {"type": "array", "items": {"type": "record", "name": "SeenKind", "doc": "A kind that was seen.", "fields": [{"name": "name", "type": "string", "arrow": "dictionary", "doc": "As in `kind`."}]}}, "doc": "All kinds that were seen so far, in the order of their appearance."}, {"name": "severity", "type": {"type": "enum", "name": "Severity", "symbols": ["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"], "default": "UNKNOWN"}, "doc": "From impact, deviation and duration."}, {"name": "billing_account_id", "type": "string", "arrow": "dictionary", "doc": "Account of the incident; *: the whole source partition."}, {"name": "billing_currency", "type": "string", "arrow": "dictionary", "doc": "Currency of all amounts; empty: no money is known."}, {"name": "dimensions", "type": {"type": "map", "values": "string"}, "doc": "What the incident is about within the account: names and values; empty: all of it."}, {"name": "window_start", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC start of the first odd window, inclusive."}, {"name": "window_end", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC end of the newest odd window, exclusive."}, {"name": "windows", "type": "long", "doc": "Complete windows that were odd."}, {"name": "actual_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Billed cost of the scope in them, exact."}, {"name": "expected_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "What was to be expected; an estimate."}, {"name": "reference_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Billed cost of as many usual windows before, exact but for one rounding a child."}, {"name": "impact", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Money beyond what was to be expected; an estimate. For a drop: what is missing."}, {"name": "value", "type": "double", "doc": "The ratio of a kind that is about one, else 0."}, {"name": "usual_value", "type": "double", "doc": "Its usual value."}, {"name": "surprise", "type": "double", "doc": "How unlikely: -log10 of a probability, or deviations for a ratio."}, {"name": "volume_effect", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Part of actual - reference from more events at the usual mean price."}, {"name": "price_effect", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Part from other prices of the same events."}, {"name": "mix_effect", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Part from another composition; the three add up exactly."}, {"name": "contributors", "type": {"type": "array", "items": {"type": "record", "name": "Contributor", "doc": "One value of one dimension and what it brought to the change.", "fields": [{"name": "dimension", "type": "string", "arrow": "dictionary", "doc": "e.g. request_model, feature, experiment_id, environment, deployment."}, {"name": "value", "type": "string", "doc": "The dimension\'s value."}, {"name": "actual_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Billed cost in the incident\'s windows."}, {"name": "reference_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Billed cost of as many usual windows."}, {"name": "volume_effect", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Part of actual - reference from more or fewer events."}, {"name": "price_effect", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Part from dearer or cheaper events; the two add up to the change."}]}}, "doc": "Values that moved the spend most, the largest first."}, {"name": "reasons", "type": {"type": "array", "items": {"type": "record", "name": "Reason", "doc": "A sentence.", "fields": [{"name": "text", "type": "string", "doc": "What a detector saw."}]}}, "doc": "What the detectors saw, in words."}, {"name": "source_partition", "type": "int", "doc": "Partition of usage-events."}, {"name": "samples", "type": {"type": "array", "items": {"type": "record", "name": "SampleUnit", "doc": "A commit unit that brought a large part: offsets [unit_start, unit_end) of the source partition.", "fields": [{"name": "unit_start", "type": "long", "doc": "First offset of usage-events."}, {"name": "unit_end", "type": "long", "doc": "Next offset after the unit."}]}}, "doc": "Commit units with the largest parts of the first window."}, {"name": "watermark", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "Watermark when the update was made."}, {"name": "is_muted", "type": "boolean", "doc": "A mute was in force: shown, and nobody is told."}]}'
COST_ROLLUP_SCHEMA: Final = '{"type": "record", "name": "CostRollup", "namespace": "chargeline.events", "doc": "One pane: what a commit unit added to a window of a group. A delta: sums over panes are right at every moment.", "fields": [{"name": "billing_account_id", "type": "string", "doc": "Who receives the invoice.", "arrow": "dictionary"}, {"name": "sub_account_id", "type": ["null", "string"], "default": null, "doc": "Part of the billing account; null: none.", "arrow": "dictionary"}, {"name": "team", "type": ["null", "string"], "default": null, "doc": "Owning team; null: not said.", "arrow": "dictionary"}, {"name": "project", "type": ["null", "string"], "default": null, "doc": "Owning project; null: not said.", "arrow": "dictionary"}, {"name": "environment", "type": ["null", "string"], "default": null, "doc": "e.g. production, staging; null: not said.", "arrow": "dictionary"}, {"name": "feature", "type": ["null", "string"], "default": null, "doc": "Product feature that caused the usage; null: not said.", "arrow": "dictionary"}, {"name": "experiment_id", "type": ["null", "string"], "default": null, "doc": "Experiment the usage belongs to; null: none.", "arrow": "dictionary"}, {"name": "deployment", "type": ["null", "string"], "default": null, "doc": "Model deployment; null: not said.", "arrow": "dictionary"}, {"name": "request_model", "type": "string", "doc": "The model asked for, or the resource class.", "arrow": "dictionary"}, {"name": "sku_id", "type": ["null", "string"], "default": null, "doc": "The thing sold; null: events without entries (UNRATED or nothing to price).", "arrow": "dictionary"}, {"name": "billing_currency", "type": ["null", "string"], "default": null, "doc": "Currency of the costs; null: nothing was priced.", "arrow": "dictionary"}, {"name": "window_start", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC start of the window, inclusive, by event_time."}, {"name": "window_end", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC end of the window, exclusive."}, {"name": "pane", "type": {"type": "enum", "name": "Pane", "symbols": ["UNKNOWN", "EARLY", "LATE"], "default": "UNKNOWN"}, "doc": "EARLY: the window was open at the unit\'s start by the partition\'s watermark; LATE: it was not."}, {"name": "billed_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Sum over the pane, in billing_currency."}, {"name": "list_cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Sum over the pane, in billing_currency."}, {"name": "consumed_quantity", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}, "doc": "Sum over the pane, in the SKU\'s consumed unit."}, {"name": "event_count", "type": "long", "doc": "Events; each is counted once, in the pane of its first entry."}, {"name": "error_count", "type": "long", "doc": "Events of event_count with status ERROR."}, {"name": "unrated_count", "type": "long", "doc": "Events of event_count that are UNRATED."}, {"name": "source_partition", "type": "int", "doc": "Partition of usage-events."}, {"name": "unit_end_offset", "type": "long", "doc": "Next offset after the commit unit that emitted the pane."}, {"name": "pane_index", "type": "int", "doc": "Number of the pane in its unit and partition, from 0; (source_partition, unit_end_offset, pane_index) names it for ever."}, {"name": "watermark", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "Watermark of the partition after the unit: max event_time - bound; null: no accepted event yet."}, {"name": "cost_variance", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 24}], "default": null, "doc": "Sum of the variances of the sampled events whose first entry stands in the pane, in the square of billing_currency (spec/rating.md 11), at most 10^14; null: none is sampled. The standard error of a sum of panes is the root of the sum of these."}]}'
DEAD_LETTER_SCHEMA: Final = '{"type": "record", "name": "DeadLetter", "namespace": "chargeline.events", "doc": "What the headers of a usage-events-dlq record say; its value is the original bytes.", "fields": [{"name": "code", "type": {"type": "enum", "name": "DeadLetterCode", "symbols": ["UNKNOWN", "TOO_LARGE", "MALFORMED", "UNKNOWN_SCHEMA", "MISSING_FIELD", "BAD_NUMBER", "BAD_TIME", "FUTURE_EVENT", "MISPLACED", "UNSUPPORTED", "NEGATIVE_QUANTITY", "INTERVAL_REVERSED", "BAD_SAMPLE_WEIGHT", "PRICE_NOT_ALLOWED", "AMOUNT_OVERFLOW", "CONFLICT"], "default": "UNKNOWN"}, "doc": "Why the record was refused (spec/rating.md 14); CONFLICT: known identity with other content."}, {"name": "reason", "type": "string", "doc": "For people: what was wrong, with values, and what to do."}, {"name": "source_topic", "type": "string", "doc": "Topic of the refused record.", "arrow": "dictionary"}, {"name": "source_partition", "type": "int", "doc": "Its partition."}, {"name": "source_offset", "type": "long", "doc": "Its offset."}, {"name": "schema_id", "type": ["null", "int"], "default": null, "doc": "Schema id of its framing; null: not framed."}, {"name": "append_time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "UTC instant at which Kafka appended the refused record."}, {"name": "original_length", "type": ["null", "long"], "default": null, "doc": "Bytes of the original where the value was truncated; null: whole."}, {"name": "original_sha256", "type": ["null", "string"], "default": null, "doc": "Hex digest of the original where the value was truncated; null: whole."}]}'
GOVERNANCE_RECORD_SCHEMA: Final = '{"type": "record", "name": "GovernanceRecord", "namespace": "chargeline.events", "doc": "One effective-dated fact. Counts only if sequence and previous_hash continue the last valid record.", "fields": [{"name": "sequence", "type": "long", "doc": "Number of the fact, from 0, without gaps."}, {"name": "previous_hash", "type": "string", "doc": "Hex sha256 of the bytes (without framing) of the valid record before; 64 zeros for the first."}, {"name": "author", "type": "string", "doc": "Who recorded it, for people."}, {"name": "fact", "type": [{"type": "record", "name": "InputTopicCreated", "doc": "How accounts map to partitions; fixed for ever.", "fields": [{"name": "topic", "type": "string", "doc": "usage-events"}, {"name": "partitions", "type": "int", "doc": "Number of partitions, >= 1."}, {"name": "partitioner", "type": {"type": "enum", "name": "Partitioner", "symbols": ["UNKNOWN", "MURMUR2", "CONSISTENT"], "default": "UNKNOWN"}, "doc": "MURMUR2: Java\'s default; CONSISTENT: librdkafka\'s crc32."}]}, {"type": "record", "name": "RateCardPublished", "doc": "One immutable version of a rate card.", "fields": [{"name": "rate_card_id", "type": "string", "doc": "Stable id of the card."}, {"name": "rate_card_version", "type": "int", "doc": "Unique for the id."}, {"name": "card", "type": "string", "doc": "The card as canonical JSON (spec/formats.md 2; every number as text, keys sorted)."}]}, {"type": "record", "name": "AccountsPublished", "doc": "All groups, accounts, contracts, subscriptions, commitments and credits; replaces the document before it.", "fields": [{"name": "accounts", "type": "string", "doc": "The document as canonical JSON (spec/formats.md 4; every number as text, keys sorted)."}, {"name": "file_hash", "type": "string", "doc": "Hex sha256 of the file that was published."}]}, {"type": "record", "name": "FxPublished", "doc": "Exchange rates; they add to those published before, and a rate of a pair, date and source never changes.", "fields": [{"name": "fx_rates", "type": "string", "doc": "The rates as canonical JSON (spec/formats.md 3; every number as text, keys sorted)."}, {"name": "file_hash", "type": "string", "doc": "Hex sha256 of the file that was published."}]}, {"type": "record", "name": "BudgetSet", "doc": "What an owner may spend in a period, from a time on; a later fact of the id takes its place from its own time on.", "fields": [{"name": "budget_id", "type": "string", "doc": "Scope and period of the budget, e.g. acme:team:search@monthly."}, {"name": "effective_from", "type": "long", "doc": "Microseconds since 1970 UTC from which it holds, inclusive."}, {"name": "budget", "type": ["null", "string"], "doc": "Scope, period, limit, currency and thresholds as canonical JSON (docs/budgets.md); null: removed."}]}], "doc": "The fact; later kinds are added as branches."}]}'
PERFORMANCE_ROLLUP_SCHEMA: Final = '{"type": "record", "name": "PerformanceRollup", "namespace": "chargeline.events", "doc": "One pane of performance: what a commit unit added to a window of a group. A delta.", "fields": [{"name": "billing_account_id", "type": "string", "doc": "Who receives the invoice.", "arrow": "dictionary"}, {"name": "sub_account_id", "type": ["null", "string"], "default": null, "doc": "Part of the billing account; null: none.", "arrow": "dictionary"}, {"name": "team", "type": ["null", "string"], "default": null, "doc": "Owning team; null: not said.", "arrow": "dictionary"}, {"name": "project", "type": ["null", "string"], "default": null, "doc": "Owning project; null: not said.", "arrow": "dictionary"}, {"name": "environment", "type": ["null", "string"], "default": null, "doc": "e.g. production, staging; null: not said.", "arrow": "dictionary"}, {"name": "feature", "type": ["null", "string"], "default": null, "doc": "Product feature that caused the usage; null: not said.", "arrow": "dictionary"}, {"name": "experiment_id", "type": ["null", "string"], "default": null, "doc": "Experiment the usage belongs to; null: none.", "arrow": "dictionary"}, {"name": "deployment", "type": ["null", "string"], "default": null, "doc": "Model deployment; null: not said.", "arrow": "dictionary"}, {"name": "request_model", "type": "string", "doc": "The model asked for, or the resource class.", "arrow": "dictionary"}, {"name": "window_start", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC start of the window, inclusive, by event_time."}, {"name": "window_end", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC end of the window, exclusive."}, {"name": "pane", "type": {"type": "enum", "name": "Pane", "symbols": ["UNKNOWN", "EARLY", "LATE"], "default": "UNKNOWN"}, "doc": "EARLY: the window was open at the unit\'s start by the partition\'s watermark; LATE: it was not."}, {"name": "event_count", "type": "long", "doc": "Accepted events."}, {"name": "request_count", "type": "long", "doc": "Sum of requests."}, {"name": "error_count", "type": "long", "doc": "Events with status ERROR."}, {"name": "cancelled_count", "type": "long", "doc": "Events with status CANCELLED."}, {"name": "partial_count", "type": "long", "doc": "Events with status PARTIAL."}, {"name": "retry_count", "type": "long", "doc": "Events with attempt > 1."}, {"name": "input_tokens", "type": "long", "doc": "Sum of all input leaves."}, {"name": "cache_read_tokens", "type": "long", "doc": "Sum of the leaves read from a cache."}, {"name": "output_tokens", "type": "long", "doc": "Sum of all output leaves."}, {"name": "duration_ms_sum", "type": "long", "doc": "Sum of duration_ms where measured."}, {"name": "duration_ms_histogram", "type": {"type": "array", "items": {"type": "record", "name": "HistogramBucket", "doc": "Count of one bucket.", "fields": [{"name": "bucket", "type": "int", "doc": "b >= 1: values in (2^((b-1)/4), 2^(b/4)] ms; 0: values <= 1 ms."}, {"name": "count", "type": "long", "doc": "Values in the bucket."}]}}, "doc": "Counts of duration_ms where measured."}, {"name": "time_to_first_token_ms_sum", "type": "long", "doc": "Sum of time_to_first_token_ms where measured."}, {"name": "time_to_first_token_ms_histogram", "type": {"type": "array", "items": "HistogramBucket"}, "doc": "Counts of time_to_first_token_ms where measured."}, {"name": "source_partition", "type": "int", "doc": "Partition of usage-events."}, {"name": "unit_end_offset", "type": "long", "doc": "Next offset after the commit unit that emitted the pane."}, {"name": "pane_index", "type": "int", "doc": "Number of the pane in its unit and partition, from 0; (source_partition, unit_end_offset, pane_index) names it for ever."}, {"name": "watermark", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "Watermark of the partition after the unit: max event_time - bound; null: no accepted event yet."}]}'
USAGE_EVENT_SCHEMA: Final = '{"type": "record", "name": "UsageEvent", "namespace": "chargeline.events", "doc": "One use of a model, a machine or a shared service, to be charged exactly once.", "fields": [{"name": "event_id", "type": "string", "doc": "Identity of the event within (billing_account_id, source); stable over retries. Not empty."}, {"name": "source", "type": "string", "doc": "The producer, e.g. a gateway or a replayed file. Not empty."}, {"name": "billing_account_id", "type": "string", "doc": "Who receives the invoice; also the Kafka key. Not empty."}, {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "UTC instant at which a point event happened; for an interval event its start."}, {"name": "provider_name", "type": "string", "doc": "OpenTelemetry gen_ai.provider.name, or the house name of a shared service. Not empty."}, {"name": "request_model", "type": "string", "doc": "The model asked for; for usage without a model the resource class. Not empty."}, {"name": "operation_name", "type": "string", "doc": "OpenTelemetry gen_ai.operation.name, e.g. chat, embeddings, training. Not empty."}, {"name": "event_kind", "type": {"type": "enum", "name": "EventKind", "symbols": ["UNKNOWN", "USAGE", "AMEND", "CANCEL", "RERATE", "PERIOD_CLOSE"], "default": "UNKNOWN"}, "default": "USAGE", "doc": "What the record means; RERATE and PERIOD_CLOSE are control records."}, {"name": "charge_period_end", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null, "doc": "UTC, open end of an interval event, later than event_time; null: a point event."}, {"name": "sub_account_id", "type": ["null", "string"], "default": null, "doc": "Part of the billing account; null: none."}, {"name": "team", "type": ["null", "string"], "default": null, "doc": "Owning team; null: not said."}, {"name": "project", "type": ["null", "string"], "default": null, "doc": "Owning project; null: not said."}, {"name": "environment", "type": ["null", "string"], "default": null, "doc": "e.g. production, staging; null: not said."}, {"name": "cost_center", "type": ["null", "string"], "default": null, "doc": "Finance\'s cost center; null: not said."}, {"name": "initiative", "type": ["null", "string"], "default": null, "doc": "Business initiative; null: not said."}, {"name": "experiment_id", "type": ["null", "string"], "default": null, "doc": "Experiment the usage belongs to; null: none."}, {"name": "feature", "type": ["null", "string"], "default": null, "doc": "Product feature that caused the usage; null: not said."}, {"name": "customer_id", "type": ["null", "string"], "default": null, "doc": "The user\'s own customer, opaque; null: not said."}, {"name": "user_intent", "type": ["null", "string"], "default": null, "doc": "Why the call was made, a class and not text; null: not said."}, {"name": "principal_id", "type": ["null", "string"], "default": null, "doc": "Opaque id of the caller, no mail address; null: not said."}, {"name": "credential_id", "type": ["null", "string"], "default": null, "doc": "Opaque id of the key used; null: not said."}, {"name": "service_name", "type": ["null", "string"], "default": null, "doc": "Calling service; null: not said."}, {"name": "resource_id", "type": ["null", "string"], "default": null, "doc": "Endpoint, job or machine used; null: not said."}, {"name": "commitment_id", "type": ["null", "string"], "default": null, "doc": "Reservation or commitment named by the request; null: none."}, {"name": "deployment", "type": ["null", "string"], "default": null, "doc": "Model deployment; null: not said."}, {"name": "model_version", "type": ["null", "string"], "default": null, "doc": "Version of the model; null: not said."}, {"name": "response_model", "type": ["null", "string"], "default": null, "doc": "Model that answered; null: the requested one."}, {"name": "region", "type": ["null", "string"], "default": null, "doc": "Region that served; null: global or unknown."}, {"name": "accelerator", "type": ["null", "string"], "default": null, "doc": "Accelerator class, e.g. h100; null: none."}, {"name": "service_tier", "type": ["null", "string"], "default": null, "doc": "Tier the provider says it served: standard, batch, flex, priority; null: not said."}, {"name": "accuracy_class", "type": ["null", "string"], "default": null, "doc": "Accuracy class asked for; null: not said."}, {"name": "latency_class", "type": ["null", "string"], "default": null, "doc": "Latency class asked for; null: not said."}, {"name": "criticality", "type": ["null", "string"], "default": null, "doc": "Criticality of the workload; null: not said."}, {"name": "run_id", "type": ["null", "string"], "default": null, "doc": "Run or job id; null: none."}, {"name": "request_id", "type": ["null", "string"], "default": null, "doc": "Provider\'s request id; null: none."}, {"name": "trace_id", "type": ["null", "string"], "default": null, "doc": "W3C trace id; null: none."}, {"name": "error_type", "type": ["null", "string"], "default": null, "doc": "OpenTelemetry error.type; null: no error."}, {"name": "amends_event_id", "type": ["null", "string"], "default": null, "doc": "event_id of the event that this one amends, cancels or re-rates; null: none."}, {"name": "reported_cost_currency", "type": ["null", "string"], "default": null, "doc": "Currency of reported_cost_picos; null: the rate\'s currency."}, {"name": "input_tokens", "type": "long", "default": 0, "doc": "Tokens: prompt text read without a cache (INCLUSIVE: all prompt tokens)."}, {"name": "cache_read_input_tokens", "type": "long", "default": 0, "doc": "Tokens read from a cache."}, {"name": "cache_write_input_tokens", "type": "long", "default": 0, "doc": "Tokens written to a cache for 5 minutes or an unnamed time."}, {"name": "cache_write_1h_input_tokens", "type": "long", "default": 0, "doc": "Tokens written to a cache for an hour."}, {"name": "output_tokens", "type": "long", "default": 0, "doc": "Tokens of the answer (INCLUSIVE: all generated tokens)."}, {"name": "reasoning_output_tokens", "type": "long", "default": 0, "doc": "Tokens of reasoning."}, {"name": "input_audio_tokens", "type": "long", "default": 0, "doc": "Audio prompt tokens."}, {"name": "output_audio_tokens", "type": "long", "default": 0, "doc": "Audio answer tokens."}, {"name": "cache_read_audio_tokens", "type": "long", "default": 0, "doc": "Cached audio prompt tokens."}, {"name": "input_image_tokens", "type": "long", "default": 0, "doc": "Image prompt tokens."}, {"name": "output_image_tokens", "type": "long", "default": 0, "doc": "Image answer tokens."}, {"name": "requests", "type": "long", "default": 1, "doc": "Requests that this event stands for."}, {"name": "gpu_ms", "type": "long", "default": 0, "doc": "Devices x milliseconds of accelerators held."}, {"name": "cpu_ms", "type": "long", "default": 0, "doc": "Cores x milliseconds held."}, {"name": "memory_mib_s", "type": "long", "default": 0, "doc": "MiB x seconds of memory held."}, {"name": "storage_mib_s", "type": "long", "default": 0, "doc": "MiB x seconds of storage held."}, {"name": "io_bytes", "type": "long", "default": 0, "doc": "Bytes read and written."}, {"name": "extra_quantities", "type": {"type": "map", "values": "long"}, "default": {}, "doc": "Other quantities by name, in millionths of the unit (spec/rating.md 6)."}, {"name": "token_convention", "type": {"type": "enum", "name": "TokenConvention", "symbols": ["UNKNOWN", "DISJOINT", "INCLUSIVE"], "default": "UNKNOWN"}, "default": "DISJOINT", "doc": "Whether the token counts are disjoint leaves or include their parts."}, {"name": "quantity_source", "type": {"type": "enum", "name": "QuantitySource", "symbols": ["UNKNOWN", "MEASURED", "ESTIMATED"], "default": "UNKNOWN"}, "default": "MEASURED", "doc": "How the quantities are known."}, {"name": "sample_weight", "type": "long", "default": 1, "doc": "This event stands for so many of its kind; >= 1."}, {"name": "reported_cost_picos", "type": ["null", "long"], "default": null, "doc": "Cost that the provider reported, in 1e-12 of the currency; null: none reported."}, {"name": "duration_ms", "type": ["null", "long"], "default": null, "doc": "Milliseconds from request to last byte; null: not measured."}, {"name": "time_to_first_token_ms", "type": ["null", "long"], "default": null, "doc": "Milliseconds from request to first token; null: not measured."}, {"name": "attempt", "type": ["null", "long"], "default": null, "doc": "Number of this attempt, from 1; null: not said."}, {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["UNKNOWN", "OK", "ERROR", "CANCELLED", "PARTIAL"], "default": "UNKNOWN"}, "default": "OK", "doc": "OK, ERROR (no usable answer), CANCELLED (by the caller) or PARTIAL."}, {"name": "quality_score", "type": ["null", "double"], "default": null, "doc": "Score of the answer\'s quality, finite; null: not judged. Never used for money."}, {"name": "tuning", "type": {"type": "map", "values": "string"}, "default": {}, "doc": "Parameters of the call, e.g. temperature."}, {"name": "labels", "type": {"type": "map", "values": "string"}, "default": {}, "doc": "Free labels of the owner."}]}'

SCHEMAS: Final[dict[str, str]] = {
    'anomaly_note': ANOMALY_NOTE_SCHEMA,
    'charge': CHARGE_SCHEMA,
    'cost_anomaly': COST_ANOMALY_SCHEMA,
    'cost_rollup': COST_ROLLUP_SCHEMA,
    'dead_letter': DEAD_LETTER_SCHEMA,
    'governance_record': GOVERNANCE_RECORD_SCHEMA,
    'performance_rollup': PERFORMANCE_ROLLUP_SCHEMA,
    'usage_event': USAGE_EVENT_SCHEMA,
}

# Hex sha256 of each schema's parsing canonical form: what is on the wire, without words about it.
FINGERPRINTS: Final[dict[str, str]] = {
    'anomaly_note': '17cd6f1afc299f54f091b7ed55490a2885ec5eab1e52b5bb29cdb6dc9429e5e7',
    'charge': '3975626f29fccec3a4e56f82867e446ae6a65b599dd9d9f4ce7edc73d52646a1',
    'cost_anomaly': '078b0109c471d467ed8fef8d208b7107bb08a61ca3222127197ab45c678744f0',
    'cost_rollup': 'd7decb10b7c21c2eb3d3ad45e9fc14975f9fe801dc60fe118b6ee89f84019754',
    'dead_letter': '62f729c229df4de309a43ca6b873e9cdd115a94a1afec55a8905aabe8b1fce30',
    'governance_record': '0eebad07f01c7af8801513b14d3dd2dc47153f810b3ca928c091409b6ff02579',
    'performance_rollup': 'd1bf63d22d6e7649955a6f122e957d7a9ba276d9b0b5b7e5d72b4debb7e2c27a',
    'usage_event': 'fffa732bfbfbb8db4bd86366404746cd2b901b54c05c4fbcc198c8818c737730',
}

# ClickHouse columns of each table, in the order of the schema.
COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    'charge': (
        ('source_partition', 'Int32'),
        ('source_offset', 'Int64'),
        ('source_index', 'Int32'),
        ('append_time', "DateTime64(3, 'UTC')"),
        ('identity_hash', 'FixedString(12)'),
        ('content_hash', 'FixedString(4)'),
        ('outcome', "LowCardinality(String) DEFAULT 'CHARGED'"),
        ('reason', 'LowCardinality(Nullable(String))'),
        ('match_kind', "LowCardinality(String) DEFAULT 'EXACT'"),
        ('window_start', "DateTime64(6, 'UTC')"),
        ('billing_period_start', "DateTime64(6, 'UTC')"),
        ('billing_period_end', "DateTime64(6, 'UTC')"),
        ('charge_category', "LowCardinality(String) DEFAULT 'USAGE'"),
        ('charge_class', 'LowCardinality(Nullable(String))'),
        ('billing_currency', 'LowCardinality(Nullable(String))'),
        ('list_cost', 'Nullable(Decimal(38, 12)) DEFAULT contracted_cost'),
        ('contracted_cost', 'Nullable(Decimal(38, 12))'),
        ('effective_cost', 'Nullable(Decimal(38, 12)) DEFAULT contracted_cost'),
        ('billed_cost', 'Nullable(Decimal(38, 12)) DEFAULT contracted_cost'),
        ('estimated', 'Bool'),
        ('cost_variance', 'Nullable(Decimal(38, 24))'),
        ('governance_sequence', 'Int64'),
        ('entries.entry_kind', "Array(LowCardinality(String)) DEFAULT arrayMap(x -> 'UNIT', `entries.leaf`)"),
        ('entries.sku_id', 'Array(LowCardinality(String))'),
        ('entries.sku_price_id', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.rate_card_id', 'Array(LowCardinality(String))'),
        ('entries.rate_card_version', 'Array(Int32)'),
        ('entries.leaf', 'Array(LowCardinality(String))'),
        ('entries.consumed_quantity', 'Array(Decimal(38, 12))'),
        ('entries.consumed_unit', 'Array(LowCardinality(String))'),
        ('entries.pricing_quantity', 'Array(Nullable(Decimal(38, 12))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.pricing_unit', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.list_unit_price', 'Array(Nullable(Decimal(38, 18))) DEFAULT `entries.contracted_unit_price`'),
        ('entries.contracted_unit_price', 'Array(Nullable(Decimal(38, 18))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.list_cost', 'Array(Decimal(38, 12)) DEFAULT `entries.contracted_cost`'),
        ('entries.contracted_cost', 'Array(Decimal(38, 12))'),
        ('entries.charge_category', "Array(LowCardinality(String)) DEFAULT arrayMap(x -> 'USAGE', `entries.leaf`)"),
        ('entries.charge_class', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.charge_period_start', "Array(Nullable(DateTime64(6, 'UTC'))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)"),
        ('entries.billing_period_start', "Array(Nullable(DateTime64(6, 'UTC'))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)"),
        ('entries.billing_period_end', "Array(Nullable(DateTime64(6, 'UTC'))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)"),
        ('entries.pricing_currency', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.pricing_cost', 'Array(Nullable(Decimal(38, 12))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.fx_rate', 'Array(Nullable(Decimal(38, 18))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.fx_rate_id', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.waived_cost', 'Array(Nullable(Decimal(38, 12))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.pool', 'Array(LowCardinality(Nullable(String))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.scope_key', 'Array(Nullable(FixedString(16))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.scope_quantity', 'Array(Nullable(Decimal(38, 0))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.scope_amount', 'Array(Nullable(Decimal(38, 12))) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.scope_count', 'Array(Nullable(Int64)) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('entries.effective_cost', 'Array(Nullable(Decimal(38, 12))) DEFAULT `entries.contracted_cost`'),
        ('entries.billed_cost', 'Array(Nullable(Decimal(38, 12))) DEFAULT `entries.contracted_cost`'),
        ('entries.event_id', 'Array(Nullable(String)) DEFAULT arrayMap(x -> NULL, `entries.leaf`)'),
        ('rule_id', 'LowCardinality(Nullable(String))'),
        ('carried', 'Nullable(String)'),
        ('event_id', 'String'),
        ('source', 'LowCardinality(String)'),
        ('billing_account_id', 'LowCardinality(String)'),
        ('event_time', "DateTime64(6, 'UTC')"),
        ('provider_name', 'LowCardinality(String)'),
        ('request_model', 'LowCardinality(String)'),
        ('operation_name', 'LowCardinality(String)'),
        ('event_kind', "LowCardinality(String) DEFAULT 'USAGE'"),
        ('charge_period_end', "Nullable(DateTime64(6, 'UTC'))"),
        ('sub_account_id', 'LowCardinality(Nullable(String))'),
        ('team', 'LowCardinality(Nullable(String))'),
        ('project', 'LowCardinality(Nullable(String))'),
        ('environment', 'LowCardinality(Nullable(String))'),
        ('cost_center', 'LowCardinality(Nullable(String))'),
        ('initiative', 'LowCardinality(Nullable(String))'),
        ('experiment_id', 'LowCardinality(Nullable(String))'),
        ('feature', 'LowCardinality(Nullable(String))'),
        ('customer_id', 'Nullable(String)'),
        ('user_intent', 'LowCardinality(Nullable(String))'),
        ('principal_id', 'Nullable(String)'),
        ('credential_id', 'Nullable(String)'),
        ('service_name', 'LowCardinality(Nullable(String))'),
        ('resource_id', 'LowCardinality(Nullable(String))'),
        ('commitment_id', 'LowCardinality(Nullable(String))'),
        ('deployment', 'LowCardinality(Nullable(String))'),
        ('model_version', 'LowCardinality(Nullable(String))'),
        ('response_model', 'LowCardinality(Nullable(String))'),
        ('region', 'LowCardinality(Nullable(String))'),
        ('accelerator', 'LowCardinality(Nullable(String))'),
        ('service_tier', 'LowCardinality(Nullable(String))'),
        ('accuracy_class', 'LowCardinality(Nullable(String))'),
        ('latency_class', 'LowCardinality(Nullable(String))'),
        ('criticality', 'LowCardinality(Nullable(String))'),
        ('run_id', 'Nullable(String)'),
        ('request_id', 'Nullable(String)'),
        ('trace_id', 'Nullable(String)'),
        ('error_type', 'LowCardinality(Nullable(String))'),
        ('amends_event_id', 'Nullable(String)'),
        ('reported_cost_currency', 'LowCardinality(Nullable(String))'),
        ('input_tokens', 'Int64'),
        ('cache_read_input_tokens', 'Int64'),
        ('cache_write_input_tokens', 'Int64'),
        ('cache_write_1h_input_tokens', 'Int64'),
        ('output_tokens', 'Int64'),
        ('reasoning_output_tokens', 'Int64'),
        ('input_audio_tokens', 'Int64'),
        ('output_audio_tokens', 'Int64'),
        ('cache_read_audio_tokens', 'Int64'),
        ('input_image_tokens', 'Int64'),
        ('output_image_tokens', 'Int64'),
        ('requests', 'Int64 DEFAULT 1'),
        ('gpu_ms', 'Int64'),
        ('cpu_ms', 'Int64'),
        ('memory_mib_s', 'Int64'),
        ('storage_mib_s', 'Int64'),
        ('io_bytes', 'Int64'),
        ('extra_quantities', 'Map(String, Int64)'),
        ('token_convention', "LowCardinality(String) DEFAULT 'DISJOINT'"),
        ('quantity_source', "LowCardinality(String) DEFAULT 'MEASURED'"),
        ('sample_weight', 'Int64 DEFAULT 1'),
        ('reported_cost_picos', 'Nullable(Int64)'),
        ('duration_ms', 'Nullable(Int64)'),
        ('time_to_first_token_ms', 'Nullable(Int64)'),
        ('attempt', 'Nullable(Int64)'),
        ('status', "LowCardinality(String) DEFAULT 'OK'"),
        ('quality_score', 'Nullable(Float64)'),
        ('tuning', 'Map(String, String)'),
        ('labels', 'Map(String, String)'),
    ),
    'cost_anomaly': (
        ('anomaly_id', 'String'),
        ('sequence', 'Int64'),
        ('status', 'LowCardinality(String)'),
        ('kind', 'LowCardinality(String)'),
        ('kinds.name', 'Array(LowCardinality(String))'),
        ('severity', 'LowCardinality(String)'),
        ('billing_account_id', 'LowCardinality(String)'),
        ('billing_currency', 'LowCardinality(String)'),
        ('dimensions', 'Map(String, String)'),
        ('window_start', "DateTime64(6, 'UTC')"),
        ('window_end', "DateTime64(6, 'UTC')"),
        ('windows', 'Int64'),
        ('actual_cost', 'Decimal(38, 12)'),
        ('expected_cost', 'Decimal(38, 12)'),
        ('reference_cost', 'Decimal(38, 12)'),
        ('impact', 'Decimal(38, 12)'),
        ('value', 'Float64'),
        ('usual_value', 'Float64'),
        ('surprise', 'Float64'),
        ('volume_effect', 'Decimal(38, 12)'),
        ('price_effect', 'Decimal(38, 12)'),
        ('mix_effect', 'Decimal(38, 12)'),
        ('contributors.dimension', 'Array(LowCardinality(String))'),
        ('contributors.value', 'Array(String)'),
        ('contributors.actual_cost', 'Array(Decimal(38, 12))'),
        ('contributors.reference_cost', 'Array(Decimal(38, 12))'),
        ('contributors.volume_effect', 'Array(Decimal(38, 12))'),
        ('contributors.price_effect', 'Array(Decimal(38, 12))'),
        ('reasons.text', 'Array(String)'),
        ('source_partition', 'Int32'),
        ('samples.unit_start', 'Array(Int64)'),
        ('samples.unit_end', 'Array(Int64)'),
        ('watermark', "DateTime64(6, 'UTC')"),
        ('is_muted', 'Bool'),
    ),
    'cost_rollup': (
        ('billing_account_id', 'LowCardinality(String)'),
        ('sub_account_id', 'LowCardinality(Nullable(String))'),
        ('team', 'LowCardinality(Nullable(String))'),
        ('project', 'LowCardinality(Nullable(String))'),
        ('environment', 'LowCardinality(Nullable(String))'),
        ('feature', 'LowCardinality(Nullable(String))'),
        ('experiment_id', 'LowCardinality(Nullable(String))'),
        ('deployment', 'LowCardinality(Nullable(String))'),
        ('request_model', 'LowCardinality(String)'),
        ('sku_id', 'LowCardinality(Nullable(String))'),
        ('billing_currency', 'LowCardinality(Nullable(String))'),
        ('window_start', "DateTime64(6, 'UTC')"),
        ('window_end', "DateTime64(6, 'UTC')"),
        ('pane', 'LowCardinality(String)'),
        ('billed_cost', 'Decimal(38, 12)'),
        ('list_cost', 'Decimal(38, 12)'),
        ('consumed_quantity', 'Decimal(38, 12)'),
        ('event_count', 'Int64'),
        ('error_count', 'Int64'),
        ('unrated_count', 'Int64'),
        ('source_partition', 'Int32'),
        ('unit_end_offset', 'Int64'),
        ('pane_index', 'Int32'),
        ('watermark', "Nullable(DateTime64(6, 'UTC'))"),
        ('cost_variance', 'Nullable(Decimal(38, 24))'),
    ),
    'dead_letter': (
        ('code', 'LowCardinality(String)'),
        ('reason', 'String'),
        ('source_topic', 'LowCardinality(String)'),
        ('source_partition', 'Int32'),
        ('source_offset', 'Int64'),
        ('schema_id', 'Nullable(Int32)'),
        ('append_time', "DateTime64(3, 'UTC')"),
        ('original_length', 'Nullable(Int64)'),
        ('original_sha256', 'Nullable(String)'),
    ),
    'performance_rollup': (
        ('billing_account_id', 'LowCardinality(String)'),
        ('sub_account_id', 'LowCardinality(Nullable(String))'),
        ('team', 'LowCardinality(Nullable(String))'),
        ('project', 'LowCardinality(Nullable(String))'),
        ('environment', 'LowCardinality(Nullable(String))'),
        ('feature', 'LowCardinality(Nullable(String))'),
        ('experiment_id', 'LowCardinality(Nullable(String))'),
        ('deployment', 'LowCardinality(Nullable(String))'),
        ('request_model', 'LowCardinality(String)'),
        ('window_start', "DateTime64(6, 'UTC')"),
        ('window_end', "DateTime64(6, 'UTC')"),
        ('pane', 'LowCardinality(String)'),
        ('event_count', 'Int64'),
        ('request_count', 'Int64'),
        ('error_count', 'Int64'),
        ('cancelled_count', 'Int64'),
        ('partial_count', 'Int64'),
        ('retry_count', 'Int64'),
        ('input_tokens', 'Int64'),
        ('cache_read_tokens', 'Int64'),
        ('output_tokens', 'Int64'),
        ('duration_ms_sum', 'Int64'),
        ('duration_ms_histogram.bucket', 'Array(Int32)'),
        ('duration_ms_histogram.count', 'Array(Int64)'),
        ('time_to_first_token_ms_sum', 'Int64'),
        ('time_to_first_token_ms_histogram.bucket', 'Array(Int32)'),
        ('time_to_first_token_ms_histogram.count', 'Array(Int64)'),
        ('source_partition', 'Int32'),
        ('unit_end_offset', 'Int64'),
        ('pane_index', 'Int32'),
        ('watermark', "Nullable(DateTime64(6, 'UTC'))"),
    ),
}

# A columnar message leaves out a column whose rows all hold this (wire/left_out.py).
LEFT_OUT: Final[dict[str, dict[str, Any]]] = {
    'Charge': {'source_index': 0, 'outcome': 'CHARGED', 'reason': None, 'match_kind': 'EXACT', 'charge_category': 'USAGE', 'charge_class': None, 'billing_currency': None, 'list_cost': {'same_as': 'contracted_cost'}, 'contracted_cost': None, 'effective_cost': {'same_as': 'contracted_cost'}, 'billed_cost': {'same_as': 'contracted_cost'}, 'estimated': False, 'cost_variance': None, 'entries.entry_kind': 'UNIT', 'entries.sku_price_id': None, 'entries.pricing_quantity': None, 'entries.pricing_unit': None, 'entries.list_unit_price': {'same_as': 'contracted_unit_price'}, 'entries.contracted_unit_price': None, 'entries.list_cost': {'same_as': 'contracted_cost'}, 'entries.charge_category': 'USAGE', 'entries.charge_class': None, 'entries.charge_period_start': None, 'entries.billing_period_start': None, 'entries.billing_period_end': None, 'entries.pricing_currency': None, 'entries.pricing_cost': None, 'entries.fx_rate': None, 'entries.fx_rate_id': None, 'entries.waived_cost': None, 'entries.pool': None, 'entries.scope_key': None, 'entries.scope_quantity': None, 'entries.scope_amount': None, 'entries.scope_count': None, 'entries.effective_cost': {'same_as': 'contracted_cost'}, 'entries.billed_cost': {'same_as': 'contracted_cost'}, 'entries.event_id': None, 'rule_id': None, 'carried': None, 'event_kind': 'USAGE', 'charge_period_end': None, 'sub_account_id': None, 'team': None, 'project': None, 'environment': None, 'cost_center': None, 'initiative': None, 'experiment_id': None, 'feature': None, 'customer_id': None, 'user_intent': None, 'principal_id': None, 'credential_id': None, 'service_name': None, 'resource_id': None, 'commitment_id': None, 'deployment': None, 'model_version': None, 'response_model': None, 'region': None, 'accelerator': None, 'service_tier': None, 'accuracy_class': None, 'latency_class': None, 'criticality': None, 'run_id': None, 'request_id': None, 'trace_id': None, 'error_type': None, 'amends_event_id': None, 'reported_cost_currency': None, 'input_tokens': 0, 'cache_read_input_tokens': 0, 'cache_write_input_tokens': 0, 'cache_write_1h_input_tokens': 0, 'output_tokens': 0, 'reasoning_output_tokens': 0, 'input_audio_tokens': 0, 'output_audio_tokens': 0, 'cache_read_audio_tokens': 0, 'input_image_tokens': 0, 'output_image_tokens': 0, 'requests': 1, 'gpu_ms': 0, 'cpu_ms': 0, 'memory_mib_s': 0, 'storage_mib_s': 0, 'io_bytes': 0, 'extra_quantities': {}, 'token_convention': 'DISJOINT', 'quantity_source': 'MEASURED', 'sample_weight': 1, 'reported_cost_picos': None, 'duration_ms': None, 'time_to_first_token_ms': None, 'attempt': None, 'status': 'OK', 'quality_score': None, 'tuning': {}, 'labels': {}},
    'CostRollup': {'sub_account_id': None, 'team': None, 'project': None, 'environment': None, 'feature': None, 'experiment_id': None, 'deployment': None, 'sku_id': None, 'billing_currency': None, 'watermark': None, 'cost_variance': None},
    'PerformanceRollup': {'sub_account_id': None, 'team': None, 'project': None, 'environment': None, 'feature': None, 'experiment_id': None, 'deployment': None, 'watermark': None},
}

TOPICS: Final[dict[str, dict[str, Any]]] = {
    'anomaly-notes': {'topic': 'anomaly-notes', 'record': 'AnomalyNote', 'encoding': 'confluent-avro', 'key': 'note_id', 'partitions': 1, 'config': {'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'compact'}, 'producers': ['anomalies'], 'consumers': ['anomaly', 'anomalies'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'charges': {'topic': 'charges', 'record': 'Charge', 'encoding': 'arrow', 'key': 'source_partition', 'partitions': 'input', 'config': {'retention.ms': 3888000000, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['pricer'], 'consumers': ['sink', 'pricer', 'verify'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'cost-anomalies-dlq': {'topic': 'cost-anomalies-dlq', 'record': 'DeadLetter', 'encoding': 'original-bytes', 'key': 'billing_account_id', 'partitions': 'input', 'config': {'retention.ms': 7776000000, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['notifier'], 'consumers': ['people'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'cost-anomalies': {'topic': 'cost-anomalies', 'record': 'CostAnomaly', 'encoding': 'confluent-avro', 'key': 'billing_account_id', 'partitions': 'input', 'config': {'retention.ms': 7776000000, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['anomaly'], 'consumers': ['sink', 'notifiers'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'cost-rollups': {'topic': 'cost-rollups', 'record': 'CostRollup', 'encoding': 'arrow', 'key': 'source_partition', 'partitions': 'input', 'config': {'retention.ms': 2592000000, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['pricer'], 'consumers': ['sink', 'anomaly', 'verify', 'budgets'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'governance-log': {'topic': 'governance-log', 'record': 'GovernanceRecord', 'encoding': 'confluent-avro', 'key': None, 'partitions': 1, 'config': {'retention.ms': -1, 'max.message.bytes': 16777216, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['rates'], 'consumers': ['pricer', 'verify'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'performance-rollups': {'topic': 'performance-rollups', 'record': 'PerformanceRollup', 'encoding': 'arrow', 'key': 'source_partition', 'partitions': 'input', 'config': {'retention.ms': 2592000000, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['pricer'], 'consumers': ['sink', 'anomaly'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'usage-events-dlq': {'topic': 'usage-events-dlq', 'record': 'DeadLetter', 'encoding': 'original-bytes', 'key': None, 'partitions': 'input', 'config': {'retention.ms': 2592000000, 'max.message.bytes': 8454144, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['pricer'], 'consumers': ['sink', 'anomaly', 'dlq'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': None},
    'usage-events': {'topic': 'usage-events', 'record': 'UsageEvent', 'encoding': 'confluent-avro', 'key': 'billing_account_id', 'partitions': 'input', 'config': {'retention.ms': 2592000000, 'max.message.bytes': 8388608, 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete'}, 'producers': ['sdk', 'replay', 'generate'], 'consumers': ['pricer', 'verify'], 'compatibility': 'BACKWARD_TRANSITIVE', 'owner': 'platform', 'dead_letter_topic': 'usage-events-dlq'},
}


class AnomalyNote(TypedDict):
    note_id: str
    kind: str
    author: str
    reason: str
    anomaly_id: str | None
    label: str | None
    billing_account_id: str | None
    dimensions: dict[str, str]
    anomaly_kind: str | None
    from_time: int | None
    until_time: int | None


class ChargeEntry(TypedDict):
    entry_kind: str
    sku_id: str
    sku_price_id: str | None
    rate_card_id: str
    rate_card_version: int
    leaf: str
    consumed_quantity: Decimal
    consumed_unit: str
    pricing_quantity: Decimal | None
    pricing_unit: str | None
    list_unit_price: Decimal | None
    contracted_unit_price: Decimal | None
    list_cost: Decimal
    contracted_cost: Decimal
    charge_category: str
    charge_class: str | None
    charge_period_start: int | None
    billing_period_start: int | None
    billing_period_end: int | None
    pricing_currency: str | None
    pricing_cost: Decimal | None
    fx_rate: Decimal | None
    fx_rate_id: str | None
    waived_cost: Decimal | None
    pool: str | None
    scope_key: bytes | None
    scope_quantity: Decimal | None
    scope_amount: Decimal | None
    scope_count: int | None
    effective_cost: Decimal | None
    billed_cost: Decimal | None
    event_id: str | None


class Charge(TypedDict):
    source_partition: int
    source_offset: int
    source_index: int
    append_time: int
    identity_hash: bytes
    content_hash: bytes
    outcome: str
    reason: str | None
    match_kind: str
    window_start: int
    billing_period_start: int
    billing_period_end: int
    charge_category: str
    charge_class: str | None
    billing_currency: str | None
    list_cost: Decimal | None
    contracted_cost: Decimal | None
    effective_cost: Decimal | None
    billed_cost: Decimal | None
    estimated: bool
    cost_variance: Decimal | None
    governance_sequence: int
    entries: list[ChargeEntry]
    rule_id: str | None
    carried: str | None
    event_id: str
    source: str
    billing_account_id: str
    event_time: int
    provider_name: str
    request_model: str
    operation_name: str
    event_kind: str
    charge_period_end: int | None
    sub_account_id: str | None
    team: str | None
    project: str | None
    environment: str | None
    cost_center: str | None
    initiative: str | None
    experiment_id: str | None
    feature: str | None
    customer_id: str | None
    user_intent: str | None
    principal_id: str | None
    credential_id: str | None
    service_name: str | None
    resource_id: str | None
    commitment_id: str | None
    deployment: str | None
    model_version: str | None
    response_model: str | None
    region: str | None
    accelerator: str | None
    service_tier: str | None
    accuracy_class: str | None
    latency_class: str | None
    criticality: str | None
    run_id: str | None
    request_id: str | None
    trace_id: str | None
    error_type: str | None
    amends_event_id: str | None
    reported_cost_currency: str | None
    input_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    cache_write_1h_input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    input_audio_tokens: int
    output_audio_tokens: int
    cache_read_audio_tokens: int
    input_image_tokens: int
    output_image_tokens: int
    requests: int
    gpu_ms: int
    cpu_ms: int
    memory_mib_s: int
    storage_mib_s: int
    io_bytes: int
    extra_quantities: dict[str, int]
    token_convention: str
    quantity_source: str
    sample_weight: int
    reported_cost_picos: int | None
    duration_ms: int | None
    time_to_first_token_ms: int | None
    attempt: int | None
    status: str
    quality_score: float | None
    tuning: dict[str, str]
    labels: dict[str, str]


class SeenKind(TypedDict):
    name: str


class Contributor(TypedDict):
    dimension: str
    value: str
    actual_cost: Decimal
    reference_cost: Decimal
    volume_effect: Decimal
    price_effect: Decimal


class Reason(TypedDict):
    text: str


class SampleUnit(TypedDict):
    unit_start: int
    unit_end: int


class CostAnomaly(TypedDict):
    anomaly_id: str
    sequence: int
    status: str
    kind: str
    kinds: list[SeenKind]
    severity: str
    billing_account_id: str
    billing_currency: str
    dimensions: dict[str, str]
    window_start: int
    window_end: int
    windows: int
    actual_cost: Decimal
    expected_cost: Decimal
    reference_cost: Decimal
    impact: Decimal
    value: float
    usual_value: float
    surprise: float
    volume_effect: Decimal
    price_effect: Decimal
    mix_effect: Decimal
    contributors: list[Contributor]
    reasons: list[Reason]
    source_partition: int
    samples: list[SampleUnit]
    watermark: int
    is_muted: bool


class CostRollup(TypedDict):
    billing_account_id: str
    sub_account_id: str | None
    team: str | None
    project: str | None
    environment: str | None
    feature: str | None
    experiment_id: str | None
    deployment: str | None
    request_model: str
    sku_id: str | None
    billing_currency: str | None
    window_start: int
    window_end: int
    pane: str
    billed_cost: Decimal
    list_cost: Decimal
    consumed_quantity: Decimal
    event_count: int
    error_count: int
    unrated_count: int
    source_partition: int
    unit_end_offset: int
    pane_index: int
    watermark: int | None
    cost_variance: Decimal | None


class DeadLetter(TypedDict):
    code: str
    reason: str
    source_topic: str
    source_partition: int
    source_offset: int
    schema_id: int | None
    append_time: int
    original_length: int | None
    original_sha256: str | None


class InputTopicCreated(TypedDict):
    topic: str
    partitions: int
    partitioner: str


class RateCardPublished(TypedDict):
    rate_card_id: str
    rate_card_version: int
    card: str


class AccountsPublished(TypedDict):
    accounts: str
    file_hash: str


class FxPublished(TypedDict):
    fx_rates: str
    file_hash: str


class BudgetSet(TypedDict):
    budget_id: str
    effective_from: int
    budget: str | None


class GovernanceRecord(TypedDict):
    sequence: int
    previous_hash: str
    author: str
    fact: InputTopicCreated | RateCardPublished | AccountsPublished | FxPublished | BudgetSet


class HistogramBucket(TypedDict):
    bucket: int
    count: int


class PerformanceRollup(TypedDict):
    billing_account_id: str
    sub_account_id: str | None
    team: str | None
    project: str | None
    environment: str | None
    feature: str | None
    experiment_id: str | None
    deployment: str | None
    request_model: str
    window_start: int
    window_end: int
    pane: str
    event_count: int
    request_count: int
    error_count: int
    cancelled_count: int
    partial_count: int
    retry_count: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    duration_ms_sum: int
    duration_ms_histogram: list[HistogramBucket]
    time_to_first_token_ms_sum: int
    time_to_first_token_ms_histogram: list[HistogramBucket]
    source_partition: int
    unit_end_offset: int
    pane_index: int
    watermark: int | None


class UsageEvent(TypedDict):
    event_id: str
    source: str
    billing_account_id: str
    event_time: int
    provider_name: str
    request_model: str
    operation_name: str
    event_kind: str
    charge_period_end: int | None
    sub_account_id: str | None
    team: str | None
    project: str | None
    environment: str | None
    cost_center: str | None
    initiative: str | None
    experiment_id: str | None
    feature: str | None
    customer_id: str | None
    user_intent: str | None
    principal_id: str | None
    credential_id: str | None
    service_name: str | None
    resource_id: str | None
    commitment_id: str | None
    deployment: str | None
    model_version: str | None
    response_model: str | None
    region: str | None
    accelerator: str | None
    service_tier: str | None
    accuracy_class: str | None
    latency_class: str | None
    criticality: str | None
    run_id: str | None
    request_id: str | None
    trace_id: str | None
    error_type: str | None
    amends_event_id: str | None
    reported_cost_currency: str | None
    input_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    cache_write_1h_input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    input_audio_tokens: int
    output_audio_tokens: int
    cache_read_audio_tokens: int
    input_image_tokens: int
    output_image_tokens: int
    requests: int
    gpu_ms: int
    cpu_ms: int
    memory_mib_s: int
    storage_mib_s: int
    io_bytes: int
    extra_quantities: dict[str, int]
    token_convention: str
    quantity_source: str
    sample_weight: int
    reported_cost_picos: int | None
    duration_ms: int | None
    time_to_first_token_ms: int | None
    attempt: int | None
    status: str
    quality_score: float | None
    tuning: dict[str, str]
    labels: dict[str, str]

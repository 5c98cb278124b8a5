package bench;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.*;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Recomputes the expected final value of each key from the input topic and compares it with the last value of that key in
 * the output topic, read with read_committed to its end. Counts are 8 bytes big endian or decimal text; the join's value is text.
 * Also counts outputs of a key that do not grow (regressions: a replay that was not undone shows here) and, for the join,
 * outputs that are missing or too many. --every true: each input record must have exactly one output (exactly-once without a
 * cache), and regressions are wrong too. Exit status 1 when anything is wrong. --drop PREFIX,... deletes the output topic
 * and the topics with those prefixes afterwards.
 */
public final class Verify {
    public static void main(String[] argv) throws Exception {
        Util.Args a = new Util.Args(argv);
        String bootstrap = a.need("bootstrap"), workload = a.get("workload", "count"), in = a.need("in"), out = a.need("out");
        long window = a.num("window-ms", 10_000);
        int groups = a.integer("groups", 10_000);
        boolean join = workload.equals("join");
        Map<String, long[]> expected = new HashMap<>(); // count; or for the join: last stream number, table number, matched stream records
        try (Admin admin = Util.admin(bootstrap)) {
            Map<String, Long> table = new HashMap<>();
            if (join) read(admin, bootstrap, a.need("table"), r -> table.put(Gen.str(r.key()), Gen.number(r.value())));
            long[] inputs = {0, 0}; // records, of them joined
            read(admin, bootstrap, in, r -> {
                inputs[0]++;
                String k = Gen.str(r.key());
                switch (workload) {
                    case "count", "restore" -> expected.computeIfAbsent(k, x -> new long[1])[0]++;
                    case "windowed" -> expected.computeIfAbsent(k + "@" + (r.timestamp() - r.timestamp() % window), x -> new long[1])[0]++;
                    case "repartition" -> expected.computeIfAbsent(Gen.group(r.value(), groups), x -> new long[1])[0]++;
                    case "join" -> {
                        Long t = table.get(k);
                        if (t == null) return;
                        inputs[1]++;
                        expected.put(k, new long[] {Gen.number(r.value()), t});
                    }
                    default -> throw new IllegalArgumentException(workload);
                }
            });
            Map<String, String> lastText = new HashMap<>();
            Map<String, long[]> last = new HashMap<>();
            long[] outs = {0, 0}; // records, regressions
            read(admin, bootstrap, out, r -> {
                outs[0]++;
                String k = Gen.str(r.key());
                if (join) {
                    lastText.put(k, Gen.str(r.value()));
                    return;
                }
                long v = number(r.value());
                long[] l = last.get(k);
                if (l == null) last.put(k, new long[] {v});
                else {
                    if (v <= l[0]) outs[1]++;
                    l[0] = v;
                }
            });
            long wrong = 0;
            for (var e : expected.entrySet()) {
                long[] x = e.getValue();
                boolean ok = join ? (x[0] + ":" + x[1]).equals(lastText.get(e.getKey())) : last.containsKey(e.getKey()) && last.get(e.getKey())[0] == x[0];
                if (!ok && wrong++ < 5) System.err.println("mismatch " + e.getKey() + " expected " + Arrays.toString(x) + " got "
                    + (join ? lastText.get(e.getKey()) : Arrays.toString(last.get(e.getKey()))));
            }
            long unexpected = (join ? lastText.keySet() : last.keySet()).stream().filter(k -> !expected.containsKey(k)).count();
            boolean every = !a.flag("every", false) || outs[0] == inputs[0];
            if (!every) System.err.println(inputs[0] + " input records but " + outs[0] + " output records: " + (outs[0] - inputs[0]) + " too many");
            long mismatches = wrong + unexpected + (join && a.flag("exact", true) ? Math.abs(outs[0] - inputs[1]) : 0);
            System.out.println(new Util.Json().put("verify", workload).put("mismatches", mismatches).put("regressions", outs[1])
                .put("expected_keys", expected.size()).put("input_records", inputs[0]).put("output_records", outs[0]));
            if (a.opts.containsKey("drop")) {
                List<String> prefixes = List.of(a.need("drop").split(","));
                admin.deleteTopics(admin.listTopics().names().get().stream().filter(t -> t.equals(out) || prefixes.stream().anyMatch(t::startsWith)).toList()).all().get();
            }
            if (mismatches > 0 || !every || a.flag("every", false) && outs[1] > 0) System.exit(1);
        }
    }

    private static long number(byte[] v) {
        return v.length == 8 && v[0] == 0 ? ByteBuffer.wrap(v).getLong() : Long.parseLong(Gen.str(v));
    }

    /** Every record of a topic that a read_committed reader sees, up to the end at the time of the call. */
    static void read(Admin admin, String bootstrap, String topic, Consumer<ConsumerRecord<byte[], byte[]>> to) throws Exception {
        Map<String, Object> cfg = Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
            ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000,
            ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 << 20);
        List<TopicPartition> ps = Util.partitions(admin, topic);
        try (var c = new KafkaConsumer<>(cfg, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            c.assign(ps);
            c.seekToBeginning(ps);
            Map<TopicPartition, Long> ends = c.endOffsets(ps); // read_committed: the last stable offset
            long quiet = System.nanoTime();
            while (ps.stream().anyMatch(p -> c.position(p) < ends.get(p))) {
                var rs = c.poll(Duration.ofMillis(200));
                rs.forEach(to);
                if (!rs.isEmpty()) quiet = System.nanoTime();
                if (System.nanoTime() - quiet > 30e9) throw new IllegalStateException("no records of " + topic + " for 30 s before its end");
            }
        }
    }
}

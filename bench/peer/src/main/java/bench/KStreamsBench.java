package bench;

import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.*;

/**
 * Kafka Streams on one workload. Batch (default): runs until every input (and repartition) partition's committed offset
 * is its end offset, prints one JSON line, closes. --serve true: prints "STATE RUNNING" and runs until SIGTERM.
 */
public final class KStreamsBench {
    public static void main(String[] argv) throws Exception {
        long jvmStart = ManagementFactory.getRuntimeMXBean().getStartTime();
        Util.Args a = new Util.Args(argv);
        String bootstrap = a.need("bootstrap"), in = a.need("in"), out = a.need("out"), workload = a.get("workload", "count");
        String mode = a.get("mode", "eos"), appId = a.get("app-id", "bench-" + workload + "-" + System.currentTimeMillis());
        boolean eos = mode.equals("eos"), cache = a.flag("cache", true);
        int threads = a.integer("threads", 1);
        long commitMs = a.num("commit-ms", eos ? 100 : 1000);
        Path stateDir = Path.of(a.get("state-dir", System.getProperty("java.io.tmpdir") + "/bench-state")).resolve(appId);

        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, appId);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        p.put(StreamsConfig.STATE_DIR_CONFIG, stateDir.getParent().toString());
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, eos ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commitMs);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, cache ? 10L << 20 : 0L);
        if (a.opts.containsKey("session-ms")) p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), a.integer("session-ms", 0));
        p.put(StreamsConfig.NUM_STANDBY_REPLICAS_CONFIG, a.integer("standby-replicas", 0));
        p.put(StreamsConfig.PROBING_REBALANCE_INTERVAL_MS_CONFIG, a.num("probing-ms", 60_000)); // the least that it takes
        if (a.opts.containsKey("instance-id")) p.put(StreamsConfig.consumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), a.need("instance-id"));

        try (Admin admin = Util.admin(bootstrap)) {
            Util.createTopic(admin, out, Util.partitions(admin, in).size(), false);
            KafkaStreams streams = new KafkaStreams(topology(workload, in, out, a), p);
            AtomicLong running = new AtomicLong();
            CountDownLatch stop = new CountDownLatch(1);
            boolean serve = a.flag("serve", false);
            streams.setStateListener((now, old) -> {
                if (now == KafkaStreams.State.RUNNING && running.compareAndSet(0, System.nanoTime()) && serve) System.out.println("STATE RUNNING");
                if (now == KafkaStreams.State.ERROR) { System.out.println("STATE ERROR"); Runtime.getRuntime().halt(1); }
            });
            AtomicLong restored = new AtomicLong();
            streams.setGlobalStateRestoreListener(new StateRestoreListener() {
                @Override public void onRestoreStart(TopicPartition tp, String s, long from, long to) {}
                @Override public void onBatchRestored(TopicPartition tp, String s, long end, long n) {}
                @Override public void onRestoreEnd(TopicPartition tp, String s, long n) { restored.addAndGet(n); if (serve) System.out.println("RESTORED " + n); }
            });

            if (serve) {
                // On close a dynamic member stays in its group (leaveGroup acts on static members only): a quick restart then
                // waits for the old member's session to end, --session-ms (45 s by default).
                var close = new KafkaStreams.CloseOptions().timeout(Duration.ofSeconds(60)).leaveGroup(a.flag("leave-group", false));
                Runtime.getRuntime().addShutdownHook(new Thread(() -> { streams.close(close); stop.countDown(); }));
                streams.start();
                stop.await();
                return;
            }

            long brokerPid = a.num("broker-pid", 0);
            double load0 = Util.load1(), cpu0 = Util.selfCpuSeconds(), broker0 = Util.cpuSeconds(brokerPid), all0 = Util.machineCpuSeconds();
            double boot = (System.currentTimeMillis() - jvmStart) / 1e3;
            List<String> inputs = new ArrayList<>(List.of(in));
            if (workload.equals("join")) inputs.add(a.need("table"));
            long t0 = System.nanoTime();
            streams.start();
            double firstCommit = awaitCommitted(admin, appId, inputs, t0);
            long t1 = System.nanoTime();
            double cpu = Util.selfCpuSeconds() - cpu0, broker = Util.cpuSeconds(brokerPid) - broker0, all = Util.machineCpuSeconds() - all0;
            streams.close(Duration.ofSeconds(60));
            double close = (System.nanoTime() - t1) / 1e9;

            long n = Util.endOffsets(admin, List.of(in)).values().stream().mapToLong(Long::longValue).sum();
            double s = (t1 - t0) / 1e9, startup = (running.get() - t0) / 1e9;
            System.out.println(new Util.Json().put("peer", "kafka-streams").put("version", org.apache.kafka.common.utils.AppInfoParser.getVersion()).put("workload", workload).put("mode", mode)
                .put("threads", threads).put("cache", cache).put("commit_ms", commitMs).put("dist", a.get("dist", "uniform"))
                .put("records", n).put("keys", a.num("keys", 100_000)).put("seconds", s).put("records_per_s", n / s)
                .put("startup_s", startup).put("first_commit_s", firstCommit).put("steady_records_per_s", n / (s - startup))
                .put("jvm_boot_s", boot).put("close_s", close)
                .put("cpu_s", cpu).put("broker_cpu_s", broker).put("other_cpu_s", all - cpu - broker)
                .put("rss_mb", Util.peakRssMb("self")).put("disk_mb", Util.dirMb(stateDir))
                .put("changelog_mb", Util.topicsMb(admin, t -> t.startsWith(appId) && t.endsWith("-changelog")))
                .put("repartition_mb", Util.topicsMb(admin, t -> t.startsWith(appId) && t.endsWith("-repartition")))
                .put("out_mb", Util.topicsMb(admin, out::equals)).put("restored", restored.get())
                .put("load1_before", load0).put("load1_after", Util.load1()));
        }
        System.out.flush();
    }

    /** Waits until all of the group's input and repartition offsets are committed; returns when the first commit was seen. */
    private static double awaitCommitted(Admin admin, String group, List<String> inputs, long t0) throws Exception {
        double first = Double.NaN;
        Map<TopicPartition, Long> ends = Util.endOffsets(admin, inputs);
        while (true) {
            Map<TopicPartition, Long> c = Util.committed(admin, group);
            if (Double.isNaN(first) && !c.isEmpty()) first = (System.nanoTime() - t0) / 1e9;
            if (Util.reached(c, ends)) {
                // All input is committed, so the repartition topics have got all their records.
                List<String> rep = admin.listTopics().names().get().stream().filter(t -> t.startsWith(group + "-") && t.endsWith("-repartition")).toList();
                if (rep.isEmpty()) return first;
                if (Util.reached(Util.committed(admin, group), Util.endOffsets(admin, rep))) return first;
            }
            Thread.sleep(20);
        }
    }

    static Topology topology(String workload, String in, String out, Util.Args a) {
        StreamsBuilder b = new StreamsBuilder();
        var str = Serdes.String();
        var bytes = Serdes.ByteArray();
        KStream<String, byte[]> src = b.stream(in, Consumed.with(str, bytes));
        Produced<String, Long> counts = Produced.with(str, Serdes.Long());
        switch (workload) {
            case "count" -> // also for latency: the produce time travels in the record's header
                src.groupByKey().count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(str).withValueSerde(Serdes.Long()))
                    .toStream().to(out, counts);
            case "windowed" ->
                src.groupByKey().windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(a.num("window-ms", 10_000)), Duration.ZERO))
                    .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("windows").withKeySerde(str).withValueSerde(Serdes.Long()))
                    .toStream((wk, v) -> wk.key() + "@" + wk.window().start()).to(out, counts);
            case "join" -> // output = "stream number:table number"
                src.join(b.table(a.need("table"), Consumed.with(str, bytes), Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("table").withKeySerde(str).withValueSerde(bytes)),
                    (l, r) -> Gen.number(l) + ":" + Gen.number(r)).to(out, Produced.with(str, str));
            case "repartition" -> {
                int m = a.integer("groups", 10_000);
                src.groupBy((k, v) -> Gen.group(v, m), Grouped.with(str, bytes))
                    .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(str).withValueSerde(Serdes.Long()))
                    .toStream().to(out, counts);
            }
            case "restore" -> // 100 bytes of state a key: its count (8) and the last value's first 92 bytes
                src.groupByKey().aggregate(() -> (byte[]) null, (k, v, agg) -> {
                        byte[] s = Arrays.copyOf(v, Gen.VALUE_LEN);
                        System.arraycopy(v, 0, s, 8, Gen.VALUE_LEN - 8);
                        ByteBuffer.wrap(s).putLong(0, agg == null ? 1 : ByteBuffer.wrap(agg).getLong(0) + 1);
                        return s;
                    }, Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("state").withKeySerde(str).withValueSerde(bytes))
                    .toStream().mapValues(s -> ByteBuffer.wrap(s).getLong(0)).to(out, counts);
            default -> throw new IllegalArgumentException("--workload count|windowed|join|repartition|restore");
        }
        return b.build();
    }
}

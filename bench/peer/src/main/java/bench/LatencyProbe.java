package bench;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

/**
 * End-to-end latency, neutral of the peer: sends --rate records a second for --seconds, each with its scheduled send time in header "t"
 * (8 bytes big endian, epoch microseconds) and its record timestamp (ms), and reads the output topic read_committed.
 * Latency = arrival minus "t"; where the peer drops headers, minus the output's record timestamp. The peer must be running.
 */
public final class LatencyProbe {
    private static volatile boolean stop;
    private static final long WALL0 = System.currentTimeMillis() * 1000, NANO0 = System.nanoTime();

    private static long micros() { return WALL0 + (System.nanoTime() - NANO0) / 1000; }

    public static void main(String[] argv) throws Exception {
        Util.Args a = new Util.Args(argv);
        String bootstrap = a.need("bootstrap"), in = a.need("in"), out = a.need("out");
        int rate = a.integer("rate", 5000), seconds = a.integer("seconds", 20), warmup = a.integer("warmup", 5);
        long total = (long) rate * (seconds + warmup), pid = a.num("app-pid", 0), brokerPid = a.num("broker-pid", 0);
        long[] lat = new long[(int) total + 1000];
        int[] got = {0, 0, 0}; // measured, all, without header
        long[] lastArrival = {System.nanoTime()};
        long measureFrom = micros() + 1_000_000L + warmup * 1_000_000L;

        Map<String, Object> cc = Map.of(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
            ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
        var consumer = new KafkaConsumer<>(cc, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> ps;
        try (Admin admin = Util.admin(bootstrap)) {
            ps = Util.partitions(admin, out);
        }
        consumer.assign(ps);
        consumer.seekToEnd(ps);
        ps.forEach(consumer::position);
        Thread reader = new Thread(() -> {
            while (!stop) {
                var rs = consumer.poll(Duration.ofMillis(100));
                long now = micros();
                for (var r : rs) {
                    Header h = r.headers().lastHeader("t");
                    long t = h != null ? ByteBuffer.wrap(h.value()).getLong() : r.timestamp() * 1000;
                    synchronized (got) {
                        got[1]++;
                        if (h == null) got[2]++;
                        if (t >= measureFrom && got[0] < lat.length) lat[got[0]++] = now - t;
                        lastArrival[0] = System.nanoTime();
                    }
                }
            }
            consumer.close();
        });
        reader.start();

        Gen gen = new Gen(a.num("seed", 7), a.integer("keys", 100_000), a.get("dist", "uniform"));
        Map<String, Object> pc = Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ProducerConfig.LINGER_MS_CONFIG, 1);
        long start = micros() + 1_000_000L, late = 0;
        double cpu0 = 0, broker0 = 0, all0 = 0, self0 = 0;
        try (var p = new KafkaProducer<>(pc, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long i = 0; i < total; i++) {
                long t = start + i * 1_000_000L / rate;
                for (long wait; (wait = t - micros()) > 0; ) Thread.sleep(wait / 1000, (int) (wait % 1000) * 1000);
                if (micros() - t > 10_000) late++;
                if (i == (long) rate * warmup) {
                    cpu0 = Util.cpuSeconds(pid);
                    broker0 = Util.cpuSeconds(brokerPid);
                    all0 = Util.machineCpuSeconds();
                    self0 = Util.selfCpuSeconds();
                }
                var r = new ProducerRecord<>(in, null, t / 1000, gen.key(i), gen.value(i));
                r.headers().add("t", ByteBuffer.allocate(8).putLong(t).array());
                p.send(r, (m, e) -> { if (e != null) e.printStackTrace(); });
            }
        }
        double cpu = Util.cpuSeconds(pid) - cpu0, broker = Util.cpuSeconds(brokerPid) - broker0, self = Util.selfCpuSeconds() - self0;
        double other = Util.machineCpuSeconds() - all0 - cpu - broker - self;
        while (true) {
            synchronized (got) {
                if (got[1] >= total || System.nanoTime() - lastArrival[0] > 5e9) break;
            }
            Thread.sleep(20);
        }
        stop = true;
        reader.join();
        long[] l = Arrays.copyOf(lat, got[0]);
        Arrays.sort(l);
        System.out.println(new Util.Json().put("peer", a.get("peer", "?")).put("workload", "latency").put("mode", a.get("mode", "?")).put("threads", a.integer("threads", 1))
            .put("cache", a.flag("cache", true)).put("commit_ms", a.integer("commit-ms", -1)).put("rate", rate).put("records", total).put("measured_s", seconds)
            .put("received", got[1]).put("without_header", got[2]).put("sent_late", late)
            .put("min_ms", at(l, 0)).put("p50_ms", at(l, 0.5)).put("p95_ms", at(l, 0.95)).put("p99_ms", at(l, 0.99)).put("p999_ms", at(l, 0.999)).put("max_ms", at(l, 1))
            .put("cpu_s", cpu).put("broker_cpu_s", broker).put("probe_cpu_s", self).put("other_cpu_s", other).put("rss_mb", Util.peakRssMb(Long.toString(pid)))
            .put("load1_after", Util.load1()));
    }

    private static double at(long[] sorted, double q) {
        return sorted.length == 0 ? Double.NaN : sorted[(int) Math.min(sorted.length - 1, Math.floor(q * sorted.length))] / 1000.0;
    }
}

package bench;

import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

/**
 * What every partition feels while instances come and go, neutral of the peer: sends --rate records a second until --stop-file exists,
 * each with its scheduled send time in header "t" (8 bytes, epoch microseconds), reads --out read_committed, and asks the group
 * every --poll-ms who owns which input partition. --marks F: lines "epochms label" that the script appends when it does something;
 * each opens a phase, the last one ends with the load. Output partition p must be written by the owner of input partition p.
 *
 * For each phase one JSON line: how many partitions changed their owner in it; for those that did and those that stayed the longest
 * gap between two arrivals of one partition (ms; no smaller than the commit interval, which is its floor) and the latency's
 * quantiles (arrival minus "t"). --csv F: for each tenth of a second how old the newest output is, of the partition where it is oldest
 * and of the median one: this grows while a partition is silent.
 */
public final class ScaleProbe {
    private static final long WALL0 = System.currentTimeMillis() * 1000, NANO0 = System.nanoTime();

    private static long micros() { return WALL0 + (System.nanoTime() - NANO0) / 1000; }

    /** One poll's records of one partition. */
    private record Arrival(long at, int partition, long[] latencies) {}

    private record Owners(long at, String[] of) {}

    private record Mark(long at, String label) {}

    public static void main(String[] argv) throws Exception {
        Util.Args a = new Util.Args(argv);
        String bootstrap = a.need("bootstrap"), in = a.need("in"), out = a.need("out"), group = a.need("app-id"), peer = a.get("peer", "?");
        Path stopFile = Path.of(a.need("stop-file")), marksFile = Path.of(a.need("marks"));
        long from = a.num("from", 0), rate = a.num("rate", 8000);
        AtomicBoolean stop = new AtomicBoolean();
        List<Arrival> arrivals = new ArrayList<>();
        List<Owners> owners = new ArrayList<>();
        List<TopicPartition> ps;
        try (Admin admin = Util.admin(bootstrap)) {
            ps = Util.partitions(admin, out);
        }
        Map<String, Object> cc = Map.of(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
            ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
        var consumer = new KafkaConsumer<>(cc, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(ps);
        consumer.seekToEnd(ps);
        ps.forEach(consumer::position);
        long[] received = {0}, lastArrival = {System.nanoTime()};
        Thread reader = new Thread(() -> {
            while (!stop.get()) {
                var rs = consumer.poll(Duration.ofMillis(100));
                long now = micros();
                for (TopicPartition p : rs.partitions()) {
                    var list = rs.records(p);
                    long[] lat = new long[list.size()];
                    int n = 0;
                    for (var r : list) {
                        Header h = r.headers().lastHeader("t");
                        if (h != null) lat[n++] = now - ByteBuffer.wrap(h.value()).getLong();
                    }
                    synchronized (arrivals) {
                        arrivals.add(new Arrival(now, p.partition(), Arrays.copyOf(lat, n)));
                        received[0] += n;
                        lastArrival[0] = System.nanoTime();
                    }
                }
            }
            consumer.close();
        });
        Thread watcher = new Thread(() -> watch(bootstrap, group, in, ps.size(), a.num("poll-ms", 200), stop, owners));
        reader.start();
        watcher.start();

        Gen gen = new Gen(a.num("seed", 42), a.integer("keys", 1_000_000), a.get("dist", "uniform"));
        Map<String, Object> pc = Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ProducerConfig.LINGER_MS_CONFIG, 2);
        long start = micros(), sent = 0, late = 0;
        try (var p = new KafkaProducer<>(pc, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (; sent % 100 != 0 || !Files.exists(stopFile); sent++) {
                long t = start + sent * 1_000_000L / rate;
                for (long wait; (wait = t - micros()) > 500; ) Thread.sleep(wait / 1000, (int) (wait % 1000) * 1000);
                if (micros() - t > 20_000) late++;
                var r = new ProducerRecord<>(in, null, Gen.EPOCH + from + sent, gen.key(from + sent), gen.value(from + sent));
                r.headers().add("t", ByteBuffer.allocate(8).putLong(t).array());
                p.send(r, (m, e) -> { if (e != null) e.printStackTrace(); });
            }
        }
        long end = micros();
        while (true) {
            synchronized (arrivals) {
                if (received[0] >= sent || System.nanoTime() - lastArrival[0] > 60e9) break;
            }
            Thread.sleep(20);
        }
        stop.set(true);
        reader.join();
        watcher.join();

        List<Mark> marks = new ArrayList<>();
        for (String l : Files.readAllLines(marksFile)) marks.add(new Mark(Long.parseLong(l.substring(0, l.indexOf(' '))) * 1000, l.substring(l.indexOf(' ') + 1)));
        for (int i = 0; i < marks.size(); i++)
            phase(peer, marks.get(i).label, marks.get(i).at, i + 1 < marks.size() ? marks.get(i + 1).at : end, ps.size(), arrivals, owners);
        System.out.println(new Util.Json().put("peer", peer).put("phase", "all").put("sent", sent).put("received", received[0]).put("sent_late", late)
            .put("seconds", (end - start) / 1e6).put("rate", rate));
        if (a.opts.containsKey("csv")) csv(Path.of(a.need("csv")), start, end, marks, arrivals);
    }

    /** Keeps what the group says whenever it is complete: members have no assignments while it rebalances. */
    private static void watch(String bootstrap, String group, String in, int partitions, long pollMs, AtomicBoolean stop, List<Owners> owners) {
        try (Admin admin = Util.admin(bootstrap)) {
            while (!stop.get()) {
                Thread.sleep(pollMs);
                try {
                    var d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                    if (d.groupState() != GroupState.STABLE) continue;
                    String[] of = new String[partitions];
                    d.members().forEach(m -> m.assignment().topicPartitions().forEach(p -> {
                        if (p.topic().equals(in)) of[p.partition()] = m.groupInstanceId().orElse(m.consumerId());
                    }));
                    owners.add(new Owners(micros(), of));
                } catch (java.util.concurrent.ExecutionException e) {
                    System.err.println("ScaleProbe: describe the group: " + e.getCause());
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The owners as of a time. */
    private static String[] ownersAt(List<Owners> owners, long at, int partitions) {
        String[] of = new String[partitions];
        for (Owners o : owners) {
            if (o.at > at) break;
            for (int p = 0; p < partitions; p++) if (o.of[p] != null) of[p] = o.of[p];
        }
        return of;
    }

    private static void phase(String peer, String label, long from, long to, int partitions, List<Arrival> arrivals, List<Owners> owners) {
        String[] before = ownersAt(owners, from, partitions), after = ownersAt(owners, to, partitions);
        boolean[] moved = new boolean[partitions];
        int n = 0;
        for (int p = 0; p < partitions; p++) if (moved[p] = !Objects.equals(before[p], after[p])) n++;
        long[] last = new long[partitions], gap = new long[partitions];
        Arrays.fill(last, -1);
        Map<Boolean, List<Long>> lat = Map.of(true, new ArrayList<>(), false, new ArrayList<>());
        for (Arrival x : arrivals) {
            long previous = last[x.partition];
            last[x.partition] = x.at;
            if (previous >= 0 && previous < to && x.at > from) gap[x.partition] = Math.max(gap[x.partition], x.at - previous);
            if (x.at >= from && x.at <= to) for (long l : x.latencies) lat.get(moved[x.partition]).add(l);
        }
        long stayGap = 0, movedGap = 0;
        for (int p = 0; p < partitions; p++) {
            if (moved[p]) movedGap = Math.max(movedGap, gap[p]);
            else stayGap = Math.max(stayGap, gap[p]);
        }
        var json = new Util.Json().put("peer", peer).put("phase", label).put("seconds", (to - from) / 1e6).put("moved", n).put("stayed", partitions - n)
            .put("stayed_gap_ms", stayGap / 1e3).put("moved_gap_ms", movedGap / 1e3);
        for (boolean m : new boolean[] {false, true}) {
            long[] l = lat.get(m).stream().mapToLong(Long::longValue).sorted().toArray();
            String name = m ? "moved_" : "stayed_";
            json.put(name + "p50_ms", at(l, 0.5)).put(name + "p99_ms", at(l, 0.99)).put(name + "max_ms", at(l, 1));
        }
        System.out.println(json);
    }

    /** See --csv. */
    private static void csv(Path file, long start, long end, List<Mark> marks, List<Arrival> arrivals) throws Exception {
        long bucket = 100_000;
        int n = (int) ((end - start) / bucket) + 1;
        long[][] worst = new long[n][];
        int partitions = arrivals.stream().mapToInt(x -> x.partition).max().orElse(0) + 1;
        long[] delivered = new long[partitions];
        Arrays.fill(delivered, start);
        int k = 0;
        try (var w = new PrintWriter(Files.newBufferedWriter(file))) {
            for (Mark m : marks) w.printf(Locale.ROOT, "# %.3f %s%n", (m.at - start) / 1e6, m.label);
            w.println("seconds,worst_ms,median_ms");
            for (int b = 0; b < n; b++) {
                long until = start + (b + 1) * bucket;
                for (; k < arrivals.size() && arrivals.get(k).at <= until; k++) {
                    Arrival x = arrivals.get(k);
                    if (x.latencies.length > 0) delivered[x.partition] = x.at - x.latencies[x.latencies.length - 1];
                }
                long[] age = new long[partitions];
                for (int p = 0; p < partitions; p++) age[p] = until - delivered[p];
                Arrays.sort(age);
                w.printf(Locale.ROOT, "%.1f,%.1f,%.1f%n", (b + 1) / 10.0, age[partitions - 1] / 1e3, age[partitions / 2] / 1e3);
            }
        }
    }

    private static double at(long[] sorted, double q) {
        return sorted.length == 0 ? Double.NaN : sorted[(int) Math.min(sorted.length - 1, Math.floor(q * sorted.length))] / 1000.0;
    }
}

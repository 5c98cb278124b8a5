package bench;

import java.io.*;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Times restarts, neutral of the peer, which runs as a child process: the command after "--" (workload "restore", serving until SIGTERM;
 * prints "STATE RUNNING", and may print "RESTORED n"). Builds the state (--updates records of each of --keys keys, then --settle-ms for
 * a checkpoint), then times restarts:
 *   clean  SIGTERM, state dir kept            wiped  SIGTERM, state dir deleted
 *   kill9  kill -9 in the middle of --burst records, state dir kept
 * Each restart finds --probe new records waiting; times run from the start of the process. One JSON line per scenario.
 */
public final class RestoreProbe {
    private final Util.Args a;
    private final String bootstrap, in, out, group;
    private final Path stateDir;
    private final Admin admin;
    private final Gen gen;
    private long next; // index of the next record to send
    private Child child;

    public static void main(String[] argv) throws Exception { new RestoreProbe(new Util.Args(argv)).run(); }

    RestoreProbe(Util.Args a) {
        this.a = a;
        bootstrap = a.need("bootstrap");
        in = a.need("in");
        out = a.need("out");
        group = a.need("app-id");
        stateDir = Path.of(a.need("state-dir"));
        admin = Util.admin(bootstrap);
        gen = new Gen(a.num("seed", 42), a.integer("keys", 2_000_000), "uniform");
    }

    void run() throws Exception {
        int keys = a.integer("keys", 2_000_000), partitions = a.integer("partitions", 4);
        Util.createTopic(admin, in, partitions, false);
        Util.createTopic(admin, out, partitions, false);
        next = (long) keys * a.num("updates", 1);
        Load.load(bootstrap, in, new Gen(a.num("seed", 42), keys, "seq"), 0, next, Gen.EPOCH);
        child = new Child();
        await("build", a.integer("patience", 300), this::caughtUp);
        double build = child.since();
        Thread.sleep(a.num("settle-ms", 0));
        long t = System.nanoTime();
        child.term();
        System.out.println(line("build").put("caught_up_s", build).put("close_s", (System.nanoTime() - t) / 1e9).put("state_mb", Util.dirMb(stateDir)));

        for (String s : a.get("scenarios", "clean,kill9,wiped").split(",")) {
            if (s.equals("kill9")) {
                child = new Child();
                await("running", 300, () -> child.runningNs != 0);
                await("caught up", 300, this::caughtUp);
                try (OutReader r = new OutReader()) {
                    long burst = a.num("burst", 500_000);
                    send(burst);
                    await("a third of the burst", 120, () -> r.count > burst / 3);
                    Thread.sleep(a.num("kill-delay-ms", 0)); // with a long commit interval: into the next, uncommitted part
                    System.err.println("kill -9 after " + r.count + " outputs of " + burst);
                    child.kill();
                }
            }
            if (s.equals("wiped")) Util.deleteDir(stateDir);
            restart(s);
        }
        admin.close();
    }

    private void restart(String scenario) throws Exception {
        long behind = 0;
        try (OutReader r = new OutReader()) {
            send(a.num("probe", 1000));
            Map<TopicPartition, Long> c = Util.committed(admin, group);
            for (var e : Util.endOffsets(admin, List.of(in)).entrySet()) behind += e.getValue() - c.getOrDefault(e.getKey(), 0L);
            double load = Util.load1(), stateMb = Util.dirMb(stateDir), broker0 = Util.cpuSeconds(a.num("broker-pid", 0)), all0 = Util.machineCpuSeconds(), self0 = Util.selfCpuSeconds();
            child = new Child();
            await("running", a.integer("patience", 300), () -> child.runningNs != 0);
            await("first output", 300, () -> r.firstNs != 0);
            await("caught up", 300, this::caughtUp);
            double caught = child.since(), cpu = Util.cpuSeconds(child.p.pid()), rss = Util.peakRssMb(Long.toString(child.p.pid()));
            double broker = Util.cpuSeconds(a.num("broker-pid", 0)) - broker0, self = Util.selfCpuSeconds() - self0;
            double other = Util.machineCpuSeconds() - all0 - cpu - broker - self;
            long t = System.nanoTime();
            child.term();
            System.out.println(line(scenario).put("records_behind", behind).put("running_s", (child.runningNs - child.t0) / 1e9).put("first_output_s", (r.firstNs - child.t0) / 1e9)
                .put("caught_up_s", caught).put("restored_records", child.restored).put("close_s", (System.nanoTime() - t) / 1e9)
                .put("cpu_s", cpu).put("broker_cpu_s", broker).put("probe_cpu_s", self).put("other_cpu_s", other).put("rss_mb", rss)
                .put("state_mb_before", stateMb).put("state_mb", Util.dirMb(stateDir)).put("load1_before", load));
        }
    }

    private Util.Json line(String scenario) {
        return new Util.Json().put("peer", a.get("peer", "?")).put("workload", "restore").put("scenario", scenario).put("variant", a.get("variant", "default"))
            .put("mode", a.get("mode", "eos")).put("threads", a.integer("threads", 1)).put("keys", a.num("keys", 2_000_000)).put("updates", a.num("updates", 1));
    }

    private void send(long n) throws Exception {
        Load.load(bootstrap, in, gen, next, n, Gen.EPOCH);
        next += n;
    }

    private boolean caughtUp() {
        try {
            return Util.reached(Util.committed(admin, group), Util.endOffsets(admin, List.of(in)));
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private void await(String what, int seconds, BooleanSupplier done) throws Exception {
        long until = System.nanoTime() + seconds * 1_000_000_000L;
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > until || !child.p.isAlive()) {
                child.kill();
                throw new IllegalStateException("no '" + what + "' after " + child.since() + " s");
            }
            Thread.sleep(10);
        }
    }

    /** The peer's process. */
    private final class Child {
        final long t0 = System.nanoTime();
        final Process p = new ProcessBuilder(a.rest).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        volatile long runningNs, restored;

        Child() throws IOException {
            Thread t = new Thread(() -> {
                try (BufferedReader r = p.inputReader()) {
                    for (String l; (l = r.readLine()) != null; ) {
                        if (l.equals("STATE RUNNING")) runningNs = System.nanoTime();
                        else if (l.startsWith("RESTORED ")) restored += Long.parseLong(l.substring(9));
                    }
                } catch (IOException e) {
                    // the process is gone
                }
            });
            t.setDaemon(true);
            t.start();
        }

        double since() { return (System.nanoTime() - t0) / 1e9; }

        void term() throws InterruptedException {
            p.destroy();
            if (!p.waitFor(90, TimeUnit.SECONDS)) kill();
        }

        void kill() throws InterruptedException { p.destroyForcibly().waitFor(); }
    }

    /** Notes when the first committed output after its construction arrives, and counts. */
    private final class OutReader implements AutoCloseable {
        volatile long firstNs, count;
        private volatile boolean stop;
        private final Thread t;

        OutReader() throws Exception {
            var c = new KafkaConsumer<>(Map.<String, Object>of(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed"),
                new ByteArrayDeserializer(), new ByteArrayDeserializer());
            var ps = Util.partitions(admin, out);
            c.assign(ps);
            c.seekToEnd(ps);
            ps.forEach(c::position);
            t = new Thread(() -> {
                while (!stop) {
                    var rs = c.poll(Duration.ofMillis(100));
                    if (!rs.isEmpty() && firstNs == 0) firstNs = System.nanoTime();
                    count += rs.count();
                }
                c.close();
            });
            t.start();
        }

        @Override public void close() throws InterruptedException {
            stop = true;
            t.join();
        }
    }
}

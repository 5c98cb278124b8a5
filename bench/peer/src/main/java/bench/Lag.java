package bench;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.TopicPartition;

/**
 * Prints how many records of --in (several: commas) the group --app-id has not committed yet. With --wait-seconds it waits until
 * there are none, and when the time is up it prints what each partition lacks and exits with 1. --below N: fewer than N will do.
 * --moved true: waits instead until the committed offset of every partition has moved, which shows that each has an owner.
 */
public final class Lag {
    public static void main(String[] argv) throws Exception {
        Util.Args a = new Util.Args(argv);
        List<String> in = List.of(a.need("in").split(","));
        String group = a.need("app-id");
        long below = a.num("below", 1), until = System.nanoTime() + a.num("wait-seconds", 0) * 1_000_000_000L;
        try (var admin = Util.admin(a.need("bootstrap"))) {
            Map<TopicPartition, Long> committed, ends;
            Map<TopicPartition, Long> before = Util.committed(admin, group);
            boolean moved = a.flag("moved", false), done;
            long lag;
            while (true) {
                committed = Util.committed(admin, group);
                ends = Util.endOffsets(admin, in);
                lag = 0;
                for (var e : ends.entrySet()) lag += e.getValue() - committed.getOrDefault(e.getKey(), 0L);
                var now = committed;
                done = moved ? ends.keySet().stream().allMatch(p -> now.getOrDefault(p, 0L) > before.getOrDefault(p, 0L)) : lag < below;
                if (done || System.nanoTime() > until) break;
                Thread.sleep(50);
            }
            System.out.println(lag);
            if (done || !a.opts.containsKey("wait-seconds")) return;
            System.err.println("group " + group + (moved ? " has not moved on in every partition after " : " has not committed all of its input after ") + a.need("wait-seconds") + " s:");
            var sorted = new TreeMap<TopicPartition, Long>((x, y) -> x.toString().compareTo(y.toString()));
            sorted.putAll(ends);
            for (var e : sorted.entrySet()) {
                Long c = committed.get(e.getKey());
                System.err.println("  " + e.getKey() + " end " + e.getValue() + " committed " + (c == null ? "nothing" : c + " lag " + (e.getValue() - c)));
            }
            System.exit(1);
        }
    }
}

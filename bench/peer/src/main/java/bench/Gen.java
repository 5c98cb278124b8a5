package bench;

import java.nio.charset.StandardCharsets;

/**
 * The input records: record i is a pure function of (seed, i), so any language can make the same ones.
 * h(i) = mix(seed + (i+1)*0x9E3779B97F4A7C15) (SplitMix64); key = "k%08d" of a number below K (uniform: unsigned h mod K;
 * zipf: s=0.99 by inverse of the cumulative table at (h>>>11)*2^-53; seq: i mod K); value = 100 bytes:
 * "%012d:" of mix(h+1) unsigned mod 10^9, then 87 letters 'a'..'p' from mix(h+2), mix(h+3), ... 16 nibbles each, lowest first.
 */
final class Gen {
    static final long EPOCH = 1_700_000_000_000L; // timestamp of record 0; 1 ms later for each record
    static final int VALUE_LEN = 100;
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;

    private final long seed;
    private final int keys;
    private final String dist;
    private double[] cdf;

    Gen(long seed, int keys, String dist) {
        this.seed = seed;
        this.keys = keys;
        this.dist = dist;
        if (dist.equals("zipf")) {
            cdf = new double[keys];
            double sum = 0;
            for (int i = 0; i < keys; i++) cdf[i] = sum += Math.pow(i + 1, -0.99);
            for (int i = 0; i < keys; i++) cdf[i] /= sum;
        } else if (!dist.equals("uniform") && !dist.equals("seq")) throw new IllegalArgumentException("--dist uniform|zipf|seq");
    }

    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    private long h(long i) { return mix(seed + (i + 1) * GOLDEN); }

    byte[] key(long i) {
        long n;
        switch (dist) {
            case "seq" -> n = i % keys;
            case "zipf" -> {
                double u = (h(i) >>> 11) * 0x1p-53;
                int lo = 0, hi = keys - 1;
                while (lo < hi) {
                    int mid = (lo + hi) >>> 1;
                    if (cdf[mid] <= u) lo = mid + 1; else hi = mid;
                }
                n = lo;
            }
            default -> n = Long.remainderUnsigned(h(i), keys);
        }
        byte[] k = new byte[9];
        k[0] = 'k';
        digits(n, k, 1, 8);
        return k;
    }

    byte[] value(long i) {
        long h = h(i);
        byte[] v = new byte[VALUE_LEN];
        digits(Long.remainderUnsigned(mix(h + 1), 1_000_000_000L), v, 0, 12);
        v[12] = ':';
        long w = 0;
        for (int j = 13, k = 0; j < VALUE_LEN; j++, k++) {
            if (k % 16 == 0) w = mix(h + 2 + k / 16);
            v[j] = (byte) ('a' + (w & 15));
            w >>>= 4;
        }
        return v;
    }

    private static void digits(long n, byte[] out, int from, int len) {
        for (int i = from + len - 1; i >= from; i--, n /= 10) out[i] = (byte) ('0' + n % 10);
    }

    /** The number at the head of a value. */
    static long number(byte[] v) {
        long n = 0;
        for (int i = 0; i < 12; i++) n = n * 10 + (v[i] - '0');
        return n;
    }

    /** The repartition workload's new key: the value's number mod M. */
    static String group(byte[] v, int m) {
        String s = Long.toString(number(v) % m);
        return "g" + "0".repeat(Math.max(0, 6 - s.length())) + s;
    }

    static String str(byte[] b) { return new String(b, StandardCharsets.ISO_8859_1); }
}

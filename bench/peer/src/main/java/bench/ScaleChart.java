package bench;

import java.awt.Color;
import java.nio.file.*;
import java.util.*;
import org.knowm.xchart.*;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Draws ScaleProbe's --csv files as one SVG: --out FILE --title T --top MS -- NAME=FILE..., one line a file, the largest value of each half second, all
 * with the marks of the first.
 */
public final class ScaleChart {
    private static final Color[] COLORS = {new Color(0x0072B2), new Color(0xD55E00), new Color(0x009E73)};

    public static void main(String[] argv) throws Exception {
        Util.Args a = new Util.Args(argv);
        XYChart chart = new XYChartBuilder().width(1100).height(420).title(a.get("title", "")).xAxisTitle("seconds")
            .yAxisTitle("age of the newest output, slowest partition (ms)").theme(Styler.ChartTheme.Matlab).build();
        var style = chart.getStyler();
        style.setYAxisLogarithmic(true);
        style.setYAxisMin(10.0);
        style.setLegendPosition(Styler.LegendPosition.OutsideS);
        style.setLegendLayout(Styler.LegendLayout.Horizontal);
        style.setXAxisDecimalPattern("0");
        style.setYAxisDecimalPattern("0");
        style.setXAxisTickMarkSpacingHint(90);
        style.setPlotGridLinesVisible(false);
        style.setAnnotationTextFont(style.getLegendFont());
        boolean first = true;
        double top = a.integer("top", 1000);
        Map<Double, String> marks = new LinkedHashMap<>();
        int color = 0;
        for (String arg : a.rest) {
            List<Double> x = new ArrayList<>(), y = new ArrayList<>();
            for (String l : Files.readAllLines(Path.of(arg.substring(arg.indexOf('=') + 1)))) {
                if (l.startsWith("# ")) {
                    String[] f = l.split(" ", 3);
                    if (first) marks.put(Double.parseDouble(f[1]), f[2]);
                } else if (!l.startsWith("seconds")) {
                    String[] f = l.split(",");
                    double at = Math.floor(Double.parseDouble(f[0]) * 2) / 2, value = Math.max(10, Double.parseDouble(f[1]));
                    int last = x.size() - 1;
                    if (last >= 0 && x.get(last) == at) y.set(last, Math.max(y.get(last), value));
                    else {
                        x.add(at);
                        y.add(value);
                    }
                    top = Math.max(top, value);
                }
            }
            first = false;
            XYSeries s = chart.addSeries(arg.substring(0, arg.indexOf('=')), x, y);
            s.setMarker(SeriesMarkers.NONE);
            s.setLineColor(COLORS[color++ % COLORS.length]);
            s.setLineWidth(1.3f);
        }
        top *= 1.6;
        style.setYAxisMax(top);
        for (var m : marks.entrySet()) {
            chart.addAnnotation(new AnnotationLine(m.getKey(), true, false));
            chart.addAnnotation(new AnnotationText(m.getValue(), m.getKey() + 4, top * 0.75, false));
        }
        VectorGraphicsEncoder.saveVectorGraphic(chart, a.need("out"), VectorGraphicsEncoder.VectorGraphicsFormat.SVG);
    }
}

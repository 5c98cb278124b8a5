package bench;

import java.awt.Color;
import java.nio.file.*;
import java.util.*;
import org.knowm.xchart.*;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws ScaleProbe's --csv files as one SVG: --out FILE --title T -- NAME=FILE..., one line a file, all with the marks of the first. */
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
        boolean first = true;
        int color = 0;
        for (String arg : a.rest) {
            List<Double> x = new ArrayList<>(), y = new ArrayList<>();
            for (String l : Files.readAllLines(Path.of(arg.substring(arg.indexOf('=') + 1)))) {
                if (l.startsWith("# ")) {
                    String[] f = l.split(" ", 3);
                    if (first) chart.addAnnotation(new AnnotationLine(Double.parseDouble(f[1]), true, false));
                    if (first) chart.addAnnotation(new AnnotationText(f[2], Double.parseDouble(f[1]) + 4, 4.2, false));
                } else if (!l.startsWith("seconds")) {
                    String[] f = l.split(",");
                    x.add(Double.parseDouble(f[0]));
                    y.add(Math.max(10, Double.parseDouble(f[1])));
                }
            }
            first = false;
            XYSeries s = chart.addSeries(arg.substring(0, arg.indexOf('=')), x, y);
            s.setMarker(SeriesMarkers.NONE);
            s.setLineColor(COLORS[color++ % COLORS.length]);
            s.setLineWidth(1.3f);
        }
        VectorGraphicsEncoder.saveVectorGraphic(chart, a.need("out"), VectorGraphicsEncoder.VectorGraphicsFormat.SVG);
    }
}

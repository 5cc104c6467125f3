import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// One picture before it is written in a plotting language: what to show, not how to say it.
public struct Figure: Equatable, Sendable {
  /// The name of its files, without an ending.
  public var name: String
  /// The headline.
  public var title: String
  /// The machine, the shape and the threads.
  public var subtitle = ""
  /// The meaning of the vertical axis.
  public var yLabel: String
  /// The meaning of the horizontal axis.
  public var xLabel = "sequence length n"
  /// The unit of the horizontal axis.
  public var xAxis = XAxis.size
  /// The unit and scale of the vertical axis.
  public var yAxis: Axis
  /// Where values stand that are too small to tell apart; nil where every value has its own place.
  public var edge: Edge?
  /// The measured curves, in legend order.
  public var curves: [Curve]
  /// Straight lines to compare with.
  public var guides: [Guide] = []
  /// What the reader must know beside the curves, one sentence each.
  public var notes: [String] = []

  /// Every value on the horizontal axis, rising.
  public var sizes: [Int] {
    Set(curves.flatMap { ($0.points + $0.predicted).map(\.n) }).sorted()
  }

  /// A place at the lower end of a logarithmic axis for all values that mean the same: they would
  /// stretch the axis over decades that hold nothing else.
  public struct Edge: Equatable, Sendable {
    /// Its place on the axis, below every value that has one of its own.
    public var value: Double
    /// Its tick mark.
    public var tick: String
    /// Its name, written beside it.
    public var label: String
  }

  /// A vertical axis.
  public enum Axis: Equatable, Sendable {
    /// Logarithmic, in seconds.
    case seconds
    /// Logarithmic, a plain factor.
    case ratio
    /// Logarithmic, in bytes.
    case bytes
    /// Linear, from 0 to 100.
    case percent
    /// Logarithmic, in 10^9 operations a second.
    case gigaflops
    /// Logarithmic, a relative error.
    case error

    /// Whether the axis is logarithmic, so that only positive values have a place on it.
    public var isLogarithmic: Bool { self != .percent }
  }

  /// A horizontal axis, logarithmic.
  public enum XAxis: Equatable, Sendable {
    /// Sizes, marked where there are measurements.
    case size
    case seconds
    /// Operations a byte.
    case intensity
  }

  /// A value at a size, with its interval.
  public struct Point: Equatable, Sendable {
    public var n: Int
    public var value: Double
    /// The lower end of its interval: the value itself where none was measured.
    public var low: Double
    /// The upper end of its interval.
    public var high: Double
    /// Its place on a horizontal axis other than that of sizes.
    public var place: Double?
    /// What was measured, where it is drawn at the figure's edge instead.
    public var atEdge: Double?
    /// A name beside the point, where there is room; empty for none.
    public var label = ""

    /// Its place on the horizontal axis.
    var x: Double { place ?? Double(n) }

    /// A point with its interval, or without one.
    public init(n: Int, value: Double, low: Double? = nil, high: Double? = nil) {
      self.n = n
      self.value = value
      self.low = low ?? value
      self.high = high ?? value
    }
  }

  /// A curve through points.
  public struct Curve: Equatable, Sendable {
    /// Its name in the legend.
    public var label: String
    /// Whether a picture's legend has it; a note explains the ones it has not.
    public var isListed = true
    /// The exponent fitted to it, shown as n^e after its name; nil shows none.
    public var exponent: Double?
    /// The heading of the legend it stands under.
    public var group: String
    /// How it looks.
    public var style: CurveStyle
    /// Its points, rising in n.
    public var points: [Point]
    /// Sizes that were not run, with what is expected there; drawn so that nobody takes them for
    /// measurements.
    public var predicted: [Point] = []
    /// The predicted points, after the measured one that the line to them comes from.
    var predictedLine: [Point] {
      guard let first = predicted.first else { return [] }
      return (points.last { $0.n < first.n }.map { [$0] } ?? []) + predicted
    }
    /// Whether its points are marked, joined, or both.
    public var mark = Mark.joinedPoints
    /// A name written at its first point; empty for none.
    public var startLabel = ""
  }

  /// How the points of a curve are shown.
  public enum Mark: Equatable, Sendable {
    /// Symbols joined by a line.
    case joinedPoints
    /// Symbols alone.
    case points
    /// A grey line alone.
    case line
  }

  /// A straight line from the smallest to the largest size.
  public struct Guide: Equatable, Sendable {
    /// Its power of n: 0, 1 or 2.
    public var power: Int
    /// Its value at n = 1.
    public var factor: Double
    /// Its name at its end; empty for none.
    public var label: String
    /// Where it begins and ends; nil is as far as the frame goes.
    public var extent: ClosedRange<Double>?

    func value(at n: Double) -> Double {
      (0..<power).reduce(factor) { value, _ in value * n }
    }

    /// Its two ends, cut to a frame; nil where it does not pass through.
    func ends(
      in x: ClosedRange<Double>, _ y: ClosedRange<Double>
    ) -> (from: (x: Double, y: Double), to: (x: Double, y: Double))? {
      func cut(_ value: Double) -> Double { Double.pow(value / factor, 1 / Double(power)) }
      var (first, last) = (x.lowerBound, x.upperBound)
      if let extent {
        first = max(first, extent.lowerBound)
        last = min(last, extent.upperBound)
      }
      if power > 0 {
        first = max(first, cut(y.lowerBound))
        last = min(last, cut(y.upperBound))
      }
      guard first < last else { return nil }
      return ((first, value(at: first)), (last, value(at: last)))
    }
  }
}

/// How a curve looks. The numbers are the same for the same strategy in every kind of picture.
public struct CurveStyle: Equatable, Sendable {
  /// The strategy's place in the palette.
  public var strategy: Int
  /// 0 is solid with filled points; 1 and above are dashed with open points.
  public var variant: Int

  /// The look of one curve.
  public init(strategy: Int, variant: Int) {
    self.strategy = strategy
    self.variant = variant
  }

  /// Okabe and Ito's colours, told apart with every common colour blindness (2008,
  /// jfly.uni-koeln.de/color), then wine, indigo, olive and brown, which the symbols help to tell from
  /// those. Yellow is last: it is faint on white.
  private static let palette = [
    "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255",
    "#332288", "#999933", "#8C5A2B", "#F0E442",
  ]

  package var color: String { Self.palette[colour] }

  /// The place of its colour in the palette.
  var colour: Int { strategy % Self.palette.count }

  /// The place of its symbol: circle, square, triangles, diamond, pentagon. Those that share a colour
  /// have different ones.
  var symbol: Int { (strategy + strategy / Self.palette.count) % 6 }

  /// gnuplot's number of the point shape.
  package var pointType: Int {
    let filled = [7, 5, 9, 11, 13, 15][symbol]
    return variant == 0 ? filled : filled - 1
  }

  /// gnuplot's number of the dash pattern.
  var dashType: Int { [1, 2, 4, 3][min(variant, 3)] }
}

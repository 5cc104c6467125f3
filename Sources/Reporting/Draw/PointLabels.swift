import Choosing
import Measuring
import Records
import Statistics
import Units

/// The names of a figure's points that have room on a drawing.
///
/// The ends of curves come first, the largest before the smallest, then what is between them. A name
/// that would touch another is left out: the line through the points tells their order.
package struct PointLabels {
  /// A name, and the point that it stands beside.
  package struct Label: Equatable {
    package let text: String
    /// The place of its curve in the figure.
    package let curve: Int
    package let point: Figure.Point
  }

  package let placed: [Label]

  /// - Parameters:
  ///   - width: of a character, in the units of `place`.
  ///   - height: of a line, in the same.
  ///   - place: where a point is drawn.
  package init(
    _ figure: Figure, width: Double, height: Double, place: (Figure.Point) -> (x: Double, y: Double)
  ) {
    var candidates: [(rank: Int, label: Label)] = []
    for (index, curve) in figure.curves.enumerated() {
      for (number, point) in curve.points.enumerated() where !point.label.isEmpty {
        let rank = number == curve.points.count - 1 ? 0 : number == 0 ? 1 : 2
        candidates.append((rank, Label(text: point.label, curve: index, point: point)))
      }
    }
    var taken: [(x: Double, y: Double, width: Double)] = []
    var placed: [Label] = []
    for rank in 0...2 {
      for (_, label) in candidates.filter({ $0.rank == rank }) {
        let (x, y) = place(label.point)
        let own = width * Double(label.text.count + 1)
        let isFree = !taken.contains { other in
          abs(other.y - y) < height && abs(other.x - x) < (other.width + own) / 2
        }
        guard isFree else { continue }
        taken.append((x, y, own))
        placed.append(label)
      }
    }
    self.placed = placed
  }
}

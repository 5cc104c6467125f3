import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

extension AttentionMap {
  /// From hardly any attention to all of it.
  private static let ramp: [Character] = [".", ":", "-", "=", "+", "*", "%", "#"]

  /// A panel in characters, one line a row of pixels; blank where nothing is seen or kept.
  public func text(_ panel: Panel) -> String {
    rows(of: panel, on: AttentionScale([self])).joined(separator: "\n")
  }

  /// The same on a scale that other maps share.
  func rows(of panel: Panel, on scale: AttentionScale) -> [String] {
    (0..<rowCount).map { row in
      let line = (0..<columnCount).map { column -> Character in
        guard let value = value(panel, row: row, column: column) else { return " " }
        let place = scale.place(value) * Double(Self.ramp.count - 1)
        return Self.ramp[Int(place.rounded(.up))]
      }
      return String(line)
    }
  }

  /// What the characters of `text` stand for.
  public var textLegend: String { Self.legend(of: AttentionScale([self])) }

  static func legend(of scale: AttentionScale) -> String {
    let steps = Self.ramp.enumerated().map { index, character in
      let bound = scale.value(at: Double(index) / Double(Self.ramp.count - 1))
      return "\(character) \(AttentionScale.percent(bound))"
    }
    return "up to " + steps.joined(separator: "  ") + "  blank: not seen, or not kept"
  }

  /// What a panel shows, in a few words: `keeps 83.1% of the attention`.
  public func headline(_ panel: Panel) -> String {
    Self.headline(panel.content, share: panel.share)
  }

  static func headline(_ content: Content, share: Double) -> String {
    let percent = SignificantDigits.three(100 * share) + "%"
    switch content {
    case .attention: return "softmax attention"
    case .kept: return "keeps \(percent) of the attention"
    case .other: return "other weights, \(percent) agree"
    }
  }

  /// What a pixel stands for and which rows were looked at, one sentence each.
  ///
  /// - Parameter unit: what a pixel is called: `pixel`, or `character` on a terminal.
  public func captions(unit: String = "pixel") -> [String] {
    captions(unit: unit, emptyRows: emptyRows)
  }

  func captions(unit: String, emptyRows: Int) -> [String] {
    let looked =
      sampledRows == queryLength
      ? "all \(queryLength) queries" : "\(sampledRows) of \(queryLength) queries"
    var sentences = [
      isExact
        ? "one \(unit): the weight of one key for one query"
        : "one \(unit): \(MaskGrid.blockText(queryLength, rowCount)) queries x "
          + "\(MaskGrid.blockText(keyLength, columnCount)) keys, the share of a query's attention on these "
          + "keys together, mean over its queries looked at",
      "looked at: \(looked); shares are means over them",
    ]
    if panels.contains(where: { $0.content == .other }) {
      sentences.append(
        "agree: what another operator gives to the same \(unit)s as softmax")
    }
    if emptyRows > 0 {
      sentences.append("\(emptyRows) rows left out: no key seen, or scores that are no numbers")
    }
    return sentences
  }
}

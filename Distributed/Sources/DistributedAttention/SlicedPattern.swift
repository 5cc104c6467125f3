import Attention

/// What some rows of a sequence see of some of its keys: a pattern cut out of the whole one.
///
/// Queries keep their positions. Keys are numbered by where they lie in the memory at hand, which holds one
/// or more segments of the whole sequence: each sequence of keys of the whole pattern is cut at the
/// segments' ends. What is cut is the whole pattern, so that a mask, a window or the parameters of a
/// pattern that follow from the length are those of the whole problem.
package struct SlicedPattern: KeyPattern {
  package let geometry: MaskGeometry
  private let whole: any KeyPattern
  private let segments: [Segment]
  private let passes: [Pass]

  /// A part of a sequence of the whole pattern.
  private struct Part {
    let source: Int
    let segment: Segment
    let piece: Piece
    /// Where no residue matters: which places, and what they become.
    var cut: Cut?
  }

  /// Runs of several keys that a segment's start cuts through become two sequences.
  private enum Piece { case all, cutRun, wholeRuns }

  private struct Cut {
    let places: Range<Int>
    let keys: KeySequence
  }

  private struct Pass {
    let rowStride: Int
    let parts: [Part]
  }

  /// - Parameters:
  ///   - geometry: that of the part's own problem: its queries' offset is the whole's, and nothing but
  ///     its number of keys hides a key.
  ///   - segments: the keys at hand.
  package init(_ whole: any KeyPattern, geometry: MaskGeometry, segments: [Segment]) {
    self.whole = whole
    self.geometry = geometry
    self.segments = segments
    passes = whole.rowStrides.enumerated().map { pass, rowStride in
      var parts: [Part] = []
      for (source, keys) in whole.sequences(pass: pass, residue: 0).enumerated() {
        let hasRuns = keys.run != 1 && keys.run != keys.period
        for segment in segments {
          for piece in hasRuns ? [Piece.cutRun, .wholeRuns] : [.all] {
            var part = Part(source: source, segment: segment, piece: piece)
            if rowStride == 1 { part.cut = Self.cut(keys, part) }
            parts.append(part)
          }
        }
      }
      return Pass(rowStride: rowStride, parts: parts)
    }
  }

  package func includes(position: Int, key: Int) -> Bool {
    for segment in segments where (0..<segment.rows.count).contains(key - segment.start) {
      return whole.includes(position: position, key: key - segment.shift)
    }
    return false
  }

  package var rowStrides: [Int] { passes.map(\.rowStride) }

  package func sequences(pass: Int, residue: Int) -> [KeySequence] {
    passes[pass].parts.map { cut($0, pass: pass, residue: residue).keys }
  }

  package func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    cut(passes[pass].parts[index], pass: pass, residue: residue).keys
  }

  package func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let (part, rowStride) = (passes[pass].parts[index], passes[pass].rowStride)
    let residue = (position % rowStride + rowStride) % rowStride
    let cut = part.cut ?? cut(part, pass: pass, residue: residue)
    let seen = whole.range(pass: pass, sequence: part.source, position: position)
      .clamped(to: cut.places)
    return seen.lowerBound - cut.places.lowerBound..<seen.upperBound - cut.places.lowerBound
  }

  private func cut(_ part: Part, pass: Int, residue: Int) -> Cut {
    part.cut ?? Self.cut(whole.sequence(part.source, pass: pass, residue: residue), part)
  }

  private static func cut(_ keys: KeySequence, _ part: Part) -> Cut {
    var places = keys.places(in: part.segment.rows)
    if part.piece != .all {
      let inRun = places.lowerBound % keys.run
      let cutRun = inRun == 0 ? 0 : min(keys.run - inRun, places.count)
      let end = places.lowerBound + cutRun
      places = part.piece == .cutRun ? places.lowerBound..<end : end..<places.upperBound
    }
    if places.isEmpty {
      return Cut(places: places, keys: KeySequence(start: 0, period: 1, count: 0))
    }
    let start = keys.key(places.lowerBound) + part.segment.shift
    return Cut(
      places: places,
      keys: keys.run == keys.period || part.piece == .cutRun
        ? KeySequence(start..<start + places.count)
        : KeySequence(start: start, run: keys.run, period: keys.period, count: places.count))
  }
}

extension KeyPattern {
  /// The keys between the first and the last that some rows see in a sequence of the pattern, as few
  /// ranges as they make.
  ///
  /// - Parameter rows: query rows.
  /// - Complexity: a look-up for each row and sequence, O(nKV) memory.
  package func keysNeeded(by rows: Range<Int>) -> [Range<Int>] {
    var change = [Int32](repeating: 0, count: geometry.keyLength + 1)
    for (pass, rowStride) in rowStrides.enumerated() {
      let common = rowStride == 1 ? sequences(pass: pass, residue: 0) : nil
      for row in rows.clamped(to: 0..<geometry.queryLength) {
        let position = row + geometry.offset
        let residue = (position % rowStride + rowStride) % rowStride
        for (index, keys) in (common ?? sequences(pass: pass, residue: residue)).enumerated() {
          let places = range(pass: pass, sequence: index, position: position)
          if places.isEmpty { continue }
          change[keys.key(places.lowerBound)] += 1
          change[keys.key(places.upperBound - 1) + 1] -= 1
        }
      }
    }
    var ranges: [Range<Int>] = []
    var depth: Int32 = 0
    for key in 0..<geometry.keyLength {
      depth += change[key]
      guard depth > 0 else { continue }
      if let last = ranges.last, last.upperBound == key {
        ranges[ranges.count - 1] = last.lowerBound..<key + 1
      } else {
        ranges.append(key..<key + 1)
      }
    }
    return ranges
  }
}

import Attention
import AttentionTestSupport
import Testing

/// The two forms of every pattern agree: what passes visit is what `includes` says, once each.
@Suite struct KeyPatternTests {
  /// Windows to either side, and chunks.
  private static let limits: [(left: Int?, right: Int?, chunk: Int?)] = [
    (0, nil, nil), (nil, 0, nil), (9, 2, nil), (17, nil, 8), (nil, nil, 5), (200, 200, 1000),
  ]

  static let geometries: [MaskGeometry] = {
    var geometries: [MaskGeometry] = []
    for (queries, keys) in [(1, 1), (1, 40), (40, 1), (37, 37), (20, 53), (53, 20), (100, 64)] {
      let offsets = [0, keys - queries, -3, 5, -2 * queries, keys + 7, 1 - queries]
      for offset in Set(offsets).sorted() {
        for causal in [false, true] {
          let prefixes = causal ? Set([0, 1, keys / 3, keys]).sorted() : [0]
          for prefix in prefixes {
            geometries.append(
              MaskGeometry(
                queryLength: queries, keyLength: keys, offset: offset, causal: causal,
                prefixLength: prefix))
          }
          for (left, right, chunk) in limits {
            geometries.append(
              MaskGeometry(
                queryLength: queries, keyLength: keys, offset: offset, causal: causal,
                prefixLength: causal ? keys / 3 : 0, windowLeft: left, windowRight: right,
                chunk: chunk))
          }
        }
      }
    }
    return geometries
  }()

  @Test(arguments: Specimen.all)
  func passesVisitExactlyTheIncludedKeys(_ specimen: Specimen) throws {
    for geometry in KeyPatternTests.geometries {
      let pattern = specimen.strategy.pattern(for: geometry)
      #expect(pattern.geometry == geometry)
      var pairs = 0
      for row in 0..<geometry.queryLength {
        let position = row + geometry.offset
        let visited = KeyPatternTests.visited(pattern, position: position)
        let included = (0..<geometry.keyLength).filter {
          pattern.includes(position: position, key: $0)
        }
        #expect(visited.sorted() == included, "position \(position) in \(geometry)")
        pairs += included.count
      }
      #expect(pattern.pairs == pairs, "\(geometry)")
    }
  }

  @Test(arguments: Specimen.all)
  func noKeyIsIncludedThatTheMaskHides(_ specimen: Specimen) {
    for geometry in KeyPatternTests.geometries {
      let pattern = specimen.strategy.pattern(for: geometry)
      for row in 0..<geometry.queryLength {
        let position = row + geometry.offset
        for key in 0..<geometry.keyLength
        where pattern.includes(position: position, key: key) {
          #expect(!geometry.causal || key <= position || key < geometry.prefixLength)
          #expect(position - key <= geometry.windowLeft && key - position <= geometry.windowRight)
          let chunk = { (position: Int) in
            (Double(position) / Double(geometry.chunk)).rounded(.down)
          }
          #expect(geometry.chunk == 0 || chunk(position) == chunk(key))
        }
      }
    }
  }

  /// Keys in the order visited, repeated where a pattern visits one twice.
  private static func visited(_ pattern: any KeyPattern, position: Int) -> [Int] {
    var keys: [Int] = []
    for (pass, stride) in pattern.rowStrides.enumerated() {
      let residue = ((position % stride) + stride) % stride
      for (index, sequence) in pattern.sequences(pass: pass, residue: residue).enumerated() {
        for place in pattern.range(pass: pass, sequence: index, position: position) {
          #expect((0..<sequence.count).contains(place))
          keys.append(sequence.key(place))
        }
      }
    }
    return keys
  }

  /// The definitions, written out once more from DESIGN's words, for the visible keys of a row.
  @Test func definitionsAreThoseOfThePapers() throws {
    func row(_ text: String, _ position: Int, n: Int, causal: Bool) throws -> [Int] {
      let pattern = try Specimen.registry.strategy(text).pattern(
        for: MaskGeometry(queryLength: n, keyLength: n, offset: 0, causal: causal))
      return (0..<n).filter { pattern.includes(position: position, key: $0) }
    }
    #expect(try row("window(4)", 10, n: 20, causal: true) == [7, 8, 9, 10])
    #expect(try row("window(4)", 10, n: 20, causal: false) == [8, 9, 10, 11, 12])
    #expect(try row("window(5)", 10, n: 20, causal: false) == [8, 9, 10, 11, 12])
    #expect(
      try row("window(left: 1, right: 2)", 10, n: 20, causal: false) == [9, 10, 11, 12])
    #expect(try row("window(left: 1, right: 2)", 10, n: 20, causal: true) == [9, 10])
    #expect(try row("window(2, sinks: 2)", 10, n: 20, causal: true) == [0, 1, 9, 10])
    #expect(try row("window(2, global: 1)", 10, n: 20, causal: true) == [0, 9, 10])
    #expect(try row("window(2, global: 1)", 0, n: 5, causal: false) == [0, 1, 2, 3, 4])
    #expect(try row("strided(3)", 10, n: 20, causal: true) == [1, 4, 7, 8, 9, 10])
    #expect(
      try row("strided(3)", 10, n: 20, causal: false) == [1, 4, 7, 8, 9, 10, 11, 12, 13, 16, 19])
    #expect(try row("fixed(4, 1)", 9, n: 20, causal: true) == [3, 7, 8, 9])
    #expect(try row("fixed(4, 1)", 9, n: 20, causal: false) == [3, 7, 8, 9, 10, 11, 15, 19])
    #expect(try row("dilated(3, 4)", 10, n: 20, causal: true) == [2, 6, 10])
    #expect(try row("dilated(3, 4)", 1, n: 20, causal: true) == [1])
    #expect(try row("dilated(3, 4)", 10, n: 20, causal: false) == [6, 10, 14])
    #expect(try row("dilated(4, 4)", 10, n: 20, causal: false) == [2, 6, 10, 14, 18])
    #expect(try row("chunked(4)", 9, n: 20, causal: true) == [8, 9])
    #expect(try row("chunked(4)", 9, n: 20, causal: false) == [8, 9, 10, 11])
    #expect(try row("chunked(4)", 11, n: 20, causal: true) == [8, 9, 10, 11])
    #expect(try row("chunked(4)", 17, n: 18, causal: false) == [16, 17])
    let blocks = { (numbers: [Int]) in numbers.flatMap { 4 * $0..<4 * $0 + 4 } }
    #expect(try row("bigbird(4, 2, 0, 1)", 13, n: 24, causal: true) == blocks([0, 2]) + [12, 13])
    #expect(try row("bigbird(4, 3, 0, 1)", 13, n: 24, causal: false) == blocks([0, 2, 3, 4]))
    #expect(try row("bigbird(4, 1, 0, 1)", 2, n: 24, causal: false) == Array(0..<24))
    #expect(try row("bigbird(4, 1, 0, 1)", 2, n: 24, causal: true) == [0, 1, 2])
  }

  @Test(arguments: Specimen.all)
  func workCountsWhatPlansDo(_ specimen: Specimen) throws {
    for number in 0..<25 {
      let test = try TestCase(number)
      let shape = test.problem.shape
      let work = try specimen.strategy.work(for: test.problem, threads: test.threads)
      let plan = try specimen.strategy.plan(for: test.problem, on: Teams.of(test.threads))
      #expect(work.workspaceBytes == plan.workspaceBytes, "\(test)")
      #expect(work.minimumBytes <= test.problem.minimumBytes)
      #expect(work.flops > 0 || work.pairs == 0)
      if specimen.isSoftmax {
        let pairs = (0..<shape.batch).reduce(0) { sum, batch in
          sum + specimen.strategy.pattern(for: test.problem.geometry(batch: batch)).pairs
        }
        #expect(work.pairs == pairs * shape.heads, "\(test)")
        let flops = 2 * work.pairs * (shape.headDim + shape.valueDim)
        // What selects counts the selection, too, where there is anything to leave out.
        #expect(specimen.strategy.selectsKeys ? work.flops >= flops : work.flops == flops)
      }
    }
  }

  /// A resolved specification names the same strategy again.
  @Test(arguments: Specimen.all)
  func resolvedSpecificationsParseBack(_ specimen: Specimen) throws {
    for number in 0..<25 {
      let problem = try TestCase(number).problem
      let spec = specimen.strategy.spec(for: problem)
      let again = try Specimen.registry.strategy(spec)
      #expect(again.spec(for: problem) == spec)
      for batch in 0..<problem.shape.batch {
        let geometry = problem.geometry(batch: batch)
        #expect(
          again.pattern(for: geometry).pairs == specimen.strategy.pattern(for: geometry).pairs,
          "\(spec)")
      }
    }
  }
}

import Attention
import AttentionBench
import Foundation
import Testing

@Suite("Attention maps")
struct AttentionMapTests {
  /// One head of three queries of 1 on the keys 0, ln 2 and ln 3: weights go as 1 to 2 to 3.
  private func small(
    causal: Bool, strategies: [String], rows: Int = 8, columns: Int = 8
  ) throws -> AttentionMap {
    let shape = try AttentionShape(heads: 1, queryLength: 3, headDim: 1)
    let tensors = try ProblemTensors(shape)
    for (index, key) in [0, 0.6931471805599453, 1.0986122886681098].enumerated() {
      tensors.query.elements[index] = 1
      tensors.key.elements[index] = Float(key)
    }
    return try AttentionMap(
      of: strategies.map { try StrategyRegistry.standard.strategy($0) },
      on: AttentionProblem(
        shape, scoring: Scoring(scale: 1), visibility: Visibility(causal: causal)),
      query: tensors.query.view,
      key: tensors.key.view, head: 0, maximumRows: rows, maximumColumns: columns)
  }

  private func random(
    _ shape: AttentionShape, head: Int = 0, strategies: [String] = [], rows: Int, columns: Int
  ) throws -> AttentionMap {
    let tensors = try ProblemTensors(random: shape, seed: 3)
    return try AttentionMap(
      of: strategies.map { try StrategyRegistry.standard.strategy($0) },
      on: AttentionProblem(shape), query: tensors.query.view, key: tensors.key.view, head: head,
      maximumRows: rows, maximumColumns: columns)
  }

  private func isNear(_ value: Double?, _ expected: Double) -> Bool {
    value.map { abs($0 - expected) < 1e-6 } ?? false
  }

  @Test("Weights are softmax, and the share kept is that on the strategy's keys")
  func byHand() throws {
    let map = try small(causal: true, strategies: ["window(1)", "flash"])
    let full = map.panels[0]
    let expected: [[Double?]] = [[1, nil, nil], [1 / 3, 2 / 3, nil], [1 / 6, 2 / 6, 3 / 6]]
    for row in 0..<3 {
      for column in 0..<3 {
        let value = map.value(full, row: row, column: column)
        if let weight = expected[row][column] {
          #expect(isNear(value, weight))
        } else {
          #expect(value == nil)
        }
      }
    }
    let window = map.panels[1]
    #expect(window.strategy == "window(1)" && window.content == .kept)
    #expect(isNear(window.share, (1 + 2 / 3.0 + 1 / 2.0) / 3))
    #expect(isNear(map.value(window, row: 1, column: 1), 2 / 3.0))
    #expect(map.value(window, row: 1, column: 0) == nil, "not kept")
    #expect(map.headline(window) == "keeps 72.2% of the attention")
    #expect(isNear(map.panels[2].share, 1))
  }

  @Test("A pixel of several keys has their attention together, and its rows sum to 1")
  func pooled() throws {
    let map = try small(causal: false, strategies: [], rows: 3, columns: 1)
    #expect((0..<3).allSatisfy { isNear(map.value(map.panels[0], row: $0, column: 0), 1) })
    let shape = try AttentionShape(heads: 1, queryLength: 50, headDim: 8)
    let large = try random(shape, strategies: ["linear"], rows: 7, columns: 9)
    for panel in large.panels {
      for row in 0..<7 {
        let sum = (0..<9).compactMap { large.value(panel, row: row, column: $0) }.reduce(0, +)
        #expect(abs(sum - 1) < 1e-5, "\(panel.strategy), row \(row)")
      }
    }
  }

  @Test("What was looked at is said")
  func captions() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 64, headDim: 4)
    let map = try random(shape, rows: 4, columns: 8)
    #expect(map.sampledRows == 16)
    let caption = map.captions().joined(separator: " ")
    #expect(caption.contains("one pixel: 16 queries x 8 keys"))
    #expect(caption.contains("looked at: 16 of 64 queries"))
    let all = try random(shape, rows: 64, columns: 64)
    #expect(all.isExact && all.sampledRows == 64)
    #expect(
      all.captions(unit: "character")[0] == "one character: the weight of one key for one query")
  }

  @Test("Another operator has weights of its own; equal keys give it softmax's")
  func otherOperator() throws {
    let shape = try AttentionShape(heads: 2, kvHeads: 1, queryLength: 12, headDim: 3)
    let tensors = try ProblemTensors(random: shape, seed: 5)
    tensors.key.elements.update(repeating: 0.5)
    let map = try AttentionMap(
      of: [StrategyRegistry.standard.strategy("linear")], on: AttentionProblem(shape),
      query: tensors.query.view, key: tensors.key.view, head: 1, maximumRows: 12,
      maximumColumns: 12)
    #expect(map.panels[1].content == .other)
    #expect(abs(map.panels[1].share - 1) < 1e-4)
    let apart = try random(shape, strategies: ["linear"], rows: 12, columns: 12)
    #expect(apart.panels[1].share > 0 && apart.panels[1].share < 0.95)
  }

  @Test("What a strategy takes beside query and key is read, and without it nothing is drawn")
  func operands() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 12, headDim: 3)
    let tensors = try ProblemTensors(random: shape, seed: 5)
    let strategy = try StrategyRegistry.standard.strategy("indexer(1, heads: 1, dim: 2)")
    let named = try strategy.operands.random(for: shape, seed: 1)
    // The index likes key 4 alone.
    for (name, tensor) in named {
      for index in tensor.elements.indices {
        tensor.elements[index] = name != "index_k" || index / 2 == 4 ? 1 : 0
      }
    }
    func map(_ views: [String: TensorView]) throws -> AttentionMap {
      try AttentionMap(
        of: [strategy], on: AttentionProblem(shape), query: tensors.query.view,
        key: tensors.key.view, named: views, head: 1, maximumRows: 12, maximumColumns: 12)
    }
    let views = named.mapValues(\.view)
    let found = try map(views)
    for row in 0..<12 {
      for column in 0..<12 {
        let value = found.value(found.panels[1], row: row, column: column)
        #expect(isNear(value, column == 4 ? 1 : 0))
      }
    }
    let missing = #expect(throws: AttentionError.self) {
      try map(views.filter { $0.key != "index_w" })
    }
    #expect(missing?.description.contains("operand index_w = missing") == true)
    let other = #expect(throws: AttentionError.self) {
      try map(views.merging(["index_k": tensors.query.view]) { $1 })
    }
    #expect(other?.argument == "operand index_k" && other?.kind == .shapeMismatch)
  }

  @Test("A query head reads the keys of its group")
  func groupedHeads() throws {
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 6, headDim: 4)
    let tensors = try ProblemTensors(random: shape, seed: 3)
    // The keys of the first group are equal, those of the second are not.
    for index in 0..<24 { tensors.key.elements[index] = 1 }
    let maps = try [1, 2].map { head in
      try AttentionMap(
        of: [], on: AttentionProblem(shape), query: tensors.query.view, key: tensors.key.view,
        head: head, maximumRows: 6, maximumColumns: 6)
    }
    let uniform = maps.map { map in
      (0..<6).allSatisfy { isNear(map.value(map.panels[0], row: 2, column: $0), 1 / 6.0) }
    }
    #expect(uniform == [true, false])
  }

  @Test(
    "A sink logit takes its part of the weights and none of the shares; a softcap bounds scores")
  func logits() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 3, headDim: 1)
    let tensors = try ProblemTensors(shape)
    tensors.query.elements.update(repeating: 1)
    func map(_ problem: AttentionProblem) throws -> AttentionMap {
      try AttentionMap(
        of: [StrategyRegistry.standard.strategy("window(1)")], on: problem,
        query: tensors.query.view, key: tensors.key.view, head: 0, maximumRows: 3,
        maximumColumns: 3)
    }
    // Three keys of score 0 and a sink of logit 0 share evenly.
    let sink = try map(
      AttentionProblem(
        shape, scoring: Scoring(sinkLogits: [0]), visibility: Visibility(causal: true)))
    #expect(isNear(sink.value(sink.panels[0], row: 2, column: 1), 1 / 4.0))
    #expect(isNear(sink.panels[1].share, (1 + 1 / 2.0 + 1 / 3.0) / 3))
    tensors.key.elements[1] = 1000
    let capped = try map(AttentionProblem(shape, scoring: Scoring(scale: 1, softcap: 1)))
    let e = exp(1.0)
    #expect(isNear(capped.value(capped.panels[0], row: 0, column: 1), e / (e + 2)))
  }

  @Test("Rows without weights are left out and counted")
  func emptyRows() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 4, headDim: 2)
    let tensors = try ProblemTensors(random: shape, seed: 1)
    tensors.query.elements[2] = .nan
    let map = try AttentionMap(
      of: [], on: AttentionProblem(shape, visibility: Visibility(causal: true, offset: .fixed(-1))),
      query: tensors.query.view, key: tensors.key.view, head: 0, maximumRows: 4,
      maximumColumns: 4)
    #expect(map.emptyRows == 2)
    #expect(map.value(map.panels[0], row: 0, column: 0) == nil)
    #expect(map.captions().last?.hasPrefix("2 rows left out") == true)
  }

  @Test("Text has a character a pixel on a logarithmic scale")
  func text() throws {
    let map = try small(causal: true, strategies: [])
    let lines = map.text(map.panels[0]).split(separator: "\n")
    #expect(lines.map(\.count) == [3, 3, 3])
    #expect(lines[0] == "#  ")
    #expect(map.textLegend.contains("# 100%"))
  }

  @Test("A head, a sequence or a tensor that is not there is an error", arguments: [-1, 2])
  func noSuchHead(head: Int) throws {
    let shape = try AttentionShape(heads: 2, queryLength: 4, headDim: 2)
    let error = #expect(throws: AttentionError.self) {
      try random(shape, head: head, rows: 4, columns: 4)
    }
    #expect(error?.description == "head = \(head): there are 0 to 1")
  }

  @Test("gnuplot draws it in both formats, with every panel's strategy and share")
  func picture() throws {
    let map = try small(causal: true, strategies: ["window(1)", "linear"])
    let svg = try Gnuplot().picture(
      of: map, title: "head_1 'x'", subtitle: "n3", format: .svg)
    let text = String(decoding: svg, as: UTF8.self)
    for expected in [
      "window(1)", "keeps 72.2% of the attention", "linear(elu)", "share of a query",
    ] {
      #expect(text.contains(expected), "\(expected)")
    }
    #expect(text.contains("data:image/png;base64"))
    let png = try Gnuplot().picture(of: map, title: "", subtitle: "", format: .png)
    #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]))
  }

  /// Where an SVG picture has its images, as (left, right, top, bottom).
  private func images(_ svg: String) -> [(Double, Double, Double, Double)] {
    let image = /<image [^>]*x='([\d.]+)' y='([\d.]+)' width='([\d.]+)' height='([\d.]+)'/
    return svg.matches(of: image).compactMap { match in
      guard let x = Double(match.1), let y = Double(match.2), let width = Double(match.3),
        let height = Double(match.4)
      else { return nil }
      return (x, x + width, y, y + height)
    }
  }

  @Test("No frame covers a pixel, and pixels are whole points")
  func framesStandOff() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 128, headDim: 4)
    let tensors = try ProblemTensors(random: shape, seed: 3)
    let strategies = try StrategyRegistry.standard.strategies("window(16),window(16, sinks: 2)")
    let heads = try HeadMaps(
      of: strategies, on: AttentionProblem(shape), query: tensors.query.view,
      key: tensors.key.view, maximumRows: 64, maximumColumns: 64)
    let one = try Gnuplot().picture(of: heads.maps[0], title: "", subtitle: "", format: .svg)
    let all = try Gnuplot().picture(of: heads, title: "", subtitle: "", format: .svg)
    for (picture, count) in [(one, 3), (all, 6)] {
      let svg = String(decoding: picture, as: UTF8.self)
      let images = images(svg)
      #expect(images.count == count, "\(svg.prefix(3000))")
      // Frames are closed paths of four corners, and none of their lines crosses a picture.
      let corners = svg.matches(of: /stroke='rgb\(144, 144, 144\)'  d='M([^']*)'/).map { frame in
        frame.1.matches(of: /([\d.]+),([\d.]+)/).compactMap { corner in
          Double(corner.1).flatMap { x in Double(corner.2).map { (x, $0) } }
        }
      }
      #expect(corners.count == count)
      for (frame, image) in zip(corners, images) {
        let (xs, ys) = (frame.map(\.0), frame.map(\.1))
        #expect((xs.min() ?? 999) + 1 < image.0 && (xs.max() ?? 0) - 1 > image.1)
        #expect((ys.min() ?? 999) + 1 < image.2 && (ys.max() ?? 0) - 1 > image.3)
      }
      for image in images {
        let pixel = (image.1 - image.0) / 64
        #expect(abs(pixel - pixel.rounded()) < 0.02, "\(pixel) points")
      }
    }
  }

  @Test("All heads: a block a strategy, a labelled map a head, one scale")
  func allHeads() throws {
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 32, headDim: 4)
    let tensors = try ProblemTensors(random: shape, seed: 3)
    let strategies = try StrategyRegistry.standard.strategies("window(8)")
    let plan = try StrategyRegistry.standard.strategies("flash,window(4),flash,window(16)")
    func maps(_ plan: [any AttentionStrategy]?) throws -> HeadMaps {
      try HeadMaps(
        of: strategies, plan: plan, on: AttentionProblem(shape), query: tensors.query.view,
        key: tensors.key.view, maximumRows: 9, maximumColumns: 18)
    }
    let heads = try maps(nil)
    #expect(heads.blocks.count == 2)
    for head in 0..<4 {
      let alone = try AttentionMap(
        of: strategies, on: AttentionProblem(shape), query: tensors.query.view,
        key: tensors.key.view, head: head, maximumRows: 9, maximumColumns: 18)
      #expect(alone.panels.map(\.share) == heads.maps[head].panels.map(\.share))
    }
    let mean = heads.maps.reduce(0) { $0 + $1.panels[1].share } / 4
    let percent = SignificantDigits.three(100 * mean)
    #expect(
      heads.blocks[1].headline
        == "window(8): keeps \(percent)% of the attention, mean over 4 heads")
    #expect(heads.blocks[0].tiles.map(\.label) == (0..<4).map { "head \($0)" })
    let text = heads.text(columns: 80)
    #expect(text[0] == "softmax attention")
    #expect(text[1] == "head 0              head 1              head 2              head 3")
    #expect(
      text.count == 2 * (1 + 1 + 9) + 1 && text.allSatisfy { $0.count <= 80 || $0 == text.last })

    let planned = try maps(plan)
    #expect(planned.blocks[2].headline.hasPrefix("the plan: keeps "))
    #expect(
      planned.blocks[2].tiles.map(\.strategy) == ["flash", "window(4)", "flash", "window(16)"])
    #expect(planned.blocks[2].tiles[0].label == "head 0 100%")
    let error = #expect(throws: AttentionError.self) { try maps([plan[0]]) }
    #expect(error?.description.contains("there are 4") == true)

    let svg = String(
      decoding: try Gnuplot().picture(of: planned, title: "t", subtitle: "s", format: .svg),
      as: UTF8.self)
    for label in ["head 0", "head 3", "window(16)", "the plan: keeps", "queries 0 to 31 downwards"]
    {
      #expect(svg.contains(label), "\(label)")
    }
  }
}

import Attention

extension Workload {
  /// All work that is compared.
  ///
  /// - Parameter quick: the same kinds at sizes that take a minute together.
  public static func all(quick: Bool) throws(AttentionError) -> [Workload] {
    quick ? try small() : try large()
  }

  private static func large() throws(AttentionError) -> [Workload] {
    var work = [try Workload("short", n: 128, d: 64)]
    for d in [64, 128] {
      for n in [1024, 4096, 16384] { work.append(try Workload("full", n: n, d: d)) }
    }
    for (d, sizes) in [(64, [1024, 4096, 16384]), (128, [1024, 4096])] {
      for n in sizes { work.append(try Workload("causal", n: n, d: d, causal: true)) }
    }
    for d in [64, 128] {
      work.append(try Workload("gqa-causal", n: 4096, d: d, kvHeads: 2, causal: true))
    }
    work.append(try Workload("window512", n: 16384, d: 64, causal: true, window: 512))
    for n in [8192, 32768] {
      work.append(try Workload("decode", n: n, d: 128, heads: 32, queries: 1))
    }
    work.append(try Workload("decode-gqa", n: 8192, d: 128, heads: 32, kvHeads: 8, queries: 1))
    for d in [64, 128] { work.append(try Workload("full-bf16", n: 4096, d: d, bf16: true)) }
    for (prefix, kvHeads) in [("decode-bf16", 32), ("decode-gqa-bf16", 8)] {
      for n in [8192, 32768] {
        work.append(
          try Workload(prefix, n: n, d: 128, heads: 32, kvHeads: kvHeads, queries: 1, bf16: true))
      }
    }
    work.append(try Workload("linear", n: 16384, d: 64, linear: true))
    work.append(try Workload("linear-causal", n: 16384, d: 64, causal: true, linear: true))
    for n in [8192, 32768] {
      for d in [64, 128] { work += try selected(n: n, d: d) }
    }
    for n in [4096, 8192] {
      for d in [64, 128] { work.append(try sparse(n: n, d: d)) }
    }
    for n in [8192, 32768] { work.append(try indexed(top: 2048, n: n, d: 128)) }
    work.append(try additive(n: 4096, d: 64))
    return work + (try recurrent(n: 16384, dims: [64, 128]))
  }

  private static func small() throws(AttentionError) -> [Workload] {
    [
      try Workload("short", n: 128, d: 64),
      try Workload("full", n: 1000, d: 64),
      try Workload("full", n: 2000, d: 64),
      try Workload("causal", n: 1000, d: 64, causal: true),
      try Workload("gqa-causal", n: 1000, d: 64, kvHeads: 2, causal: true),
      try Workload("window512", n: 2000, d: 64, causal: true, window: 512),
      try Workload("decode", n: 2000, d: 64, queries: 1),
      try Workload("decode-gqa", n: 2000, d: 64, kvHeads: 2, queries: 1),
      try Workload("full-bf16", n: 2000, d: 64, bf16: true),
      try Workload("decode-bf16", n: 2000, d: 64, queries: 1, bf16: true),
      try Workload("decode-gqa-bf16", n: 2000, d: 64, kvHeads: 2, queries: 1, bf16: true),
      try Workload("linear", n: 2000, d: 64, linear: true),
      try Workload("linear-causal", n: 2000, d: 64, causal: true, linear: true),
      try sparse(n: 2000, d: 64),
      try indexed(top: 128, n: 1000, d: 64),
      try additive(n: 500, d: 64),
    ] + (try selected(n: 2000, d: 64)) + (try recurrent(n: 1000, dims: [64]))
  }

  /// Sixteen blocks of 64 keys, chosen for blocks of queries and for every query.
  private static func selected(n: Int, d: Int) throws(AttentionError) -> [Workload] {
    [
      try Workload(
        "selected-blocks", strategy: "topblocks(64, 16, rows: 64)", n: n, d: d,
        keeping: .blocks(of: 64, top: 16, rows: 64)),
      try Workload(
        "selected-rows", strategy: "topblocks(64, 16)", n: n, d: d,
        keeping: .blocks(of: 64, top: 16, rows: 1)),
    ]
  }

  /// As many blocks, which are known beforehand: eight neighbours, seven drawn at random, the first.
  private static func sparse(n: Int, d: Int) throws(AttentionError) -> Workload {
    try Workload(
      "sparse-blocks", strategy: "bigbird(64, 8, 7, 1)", n: n, d: d,
      keeping: .given(blocksOf: 64))
  }

  private static func indexed(top: Int, n: Int, d: Int) throws(AttentionError) -> Workload {
    try Workload(
      "index", strategy: "indexer(\(top))", n: n, d: d, keeping: .index(top: top))
  }

  private static func additive(n: Int, d: Int) throws(AttentionError) -> Workload {
    try Workload("additive", strategy: "additive", n: n, d: d, causal: false, additive: true)
  }

  /// Every rule over a prompt and in a step.
  private static func recurrent(n: Int, dims: [Int]) throws(AttentionError) -> [Workload] {
    let rules = [
      ("gated", "gated", "gated(head)"), ("gla", "gated", "gated(channel)"),
      ("delta", "delta", "delta"), ("gated-delta", "gated_delta", "gated_delta(head)"),
      ("kda", "gated_delta", "gated_delta(channel)"), ("ssd", "ssd", "ssd"),
    ]
    var work: [Workload] = []
    for length in [n, 1] {
      for (prefix, rule, strategy) in rules {
        for d in dims {
          work.append(
            try Workload(recurrent: prefix, rule: rule, strategy: strategy, n: length, d: d))
        }
      }
    }
    return work
  }
}
